# The development kit: what plugins need to be built outside of this tree. It is made twice from the same
# files: for `cmake --install`, where everything is below one prefix and found relative to it, and in the build
# tree itself, whose lib/pkgconfig, lib/cmake/PANDA and share/panda name the folders of this tree.
include(CMakePackageConfigHelpers)

# Internal: one file of it; `root` is how the file writes <ROOT>.
function(panda_kit_file in out root)
  foreach(name INCLUDE COMPAT PLUGINS API PLOG LIB PROTO SCRIPTS BIN PKGCONFIG)
    string(REPLACE "<ROOT>" "${root}" PANDA_KIT_${name} "${ROOT_${name}}")
  endforeach()
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${in} ${folder}/${out} @ONLY)
endfunction()

# panda_kit(FOLDER ROOTS NAME path ...): CMake's package, the pkg-config files and panda.mak below FOLDER. A path
# that begins with <ROOT> is relative to where they will be.
function(panda_kit folder)
  cmake_parse_arguments(ROOT "" "INCLUDE;COMPAT;PLUGINS;API;PLOG;LIB;PROTO;SCRIPTS;BIN;PKGCONFIG" "" ${ARGN})
  panda_kit_file(PANDAConfig.cmake.in lib/cmake/PANDA/PANDAConfig.cmake "\${PANDA_PREFIX}")
  write_basic_package_version_file(${folder}/lib/cmake/PANDA/PANDAConfigVersion.cmake VERSION ${PROJECT_VERSION}
    COMPATIBILITY SameMinorVersion)
  foreach(file PandaPlugin.cmake PandaPlog.cmake)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/${file} ${folder}/lib/cmake/PANDA/${file} COPYONLY)
  endforeach()
  foreach(arch ${PANDA_TARGETS})
    list(TRANSFORM PANDA_DEFINES_${arch} PREPEND "-D" OUTPUT_VARIABLE cflags)
    list(JOIN cflags " " cflags)
    panda_kit_file(panda-plugin.pc.in lib/pkgconfig/panda-plugin-${arch}.pc "\${pcfiledir}/../..")
  endforeach()
  panda_kit_file(panda.mak.in share/panda/panda.mak "$(PANDA_PREFIX_)")
endfunction()

panda_kit(${CMAKE_BINARY_DIR}
  INCLUDE ${PROJECT_SOURCE_DIR}/include
  COMPAT ${PANDA_COMPAT_DIR}
  PLUGINS ${PROJECT_SOURCE_DIR}/plugins
  API ${PANDA_PLUGIN_API_DIR}
  PLOG ${CMAKE_BINARY_DIR}/plog
  LIB ${CMAKE_BINARY_DIR}/lib
  PROTO ${CMAKE_BINARY_DIR}/share/panda/proto
  SCRIPTS ${PROJECT_SOURCE_DIR}/scripts
  BIN ${CMAKE_BINARY_DIR}/bin
  PKGCONFIG ${CMAKE_BINARY_DIR}/lib/pkgconfig)
get_property(fragments GLOBAL PROPERTY PANDA_KIT_FRAGMENTS)
foreach(fragment ${fragments})
  get_filename_component(name ${fragment} NAME)
  configure_file(${fragment} ${CMAKE_BINARY_DIR}/share/panda/proto/${name} COPYONLY)
endforeach()

set(kit ${CMAKE_BINARY_DIR}/kit)
panda_kit(${kit}
  INCLUDE <ROOT>/include
  COMPAT <ROOT>/include/panda/compat
  PLUGINS <ROOT>/include/panda/plugins
  API <ROOT>/include/panda/plugins
  PLOG <ROOT>/include/panda/plog
  LIB <ROOT>/lib
  PROTO <ROOT>/share/panda/proto
  SCRIPTS <ROOT>/share/panda
  BIN <ROOT>/bin
  PKGCONFIG <ROOT>/lib/pkgconfig)
install(DIRECTORY ${kit}/ DESTINATION .)
install(TARGETS panda-system-x86_64 panda-system-i386 rr_print plog_reader panda-apigen RUNTIME DESTINATION bin)
install(PROGRAMS scripts/plog_proto.py scripts/plog_reader.py DESTINATION share/panda)
install(DIRECTORY include/panda DESTINATION include)
install(DIRECTORY include/compat/ DESTINATION include/panda/compat)
install(DIRECTORY DESTINATION include/panda/plugins/self)
get_property(folders GLOBAL PROPERTY PANDA_KIT_FOLDERS)
install(DIRECTORY ${folders} DESTINATION include/panda/plugins FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" PATTERN "*.inc")
foreach(folder ${folders})
  get_filename_component(name ${folder} NAME)
  install(FILES ${PANDA_PLUGIN_API_DIR}/${name}/${name}_ext.h DESTINATION include/panda/plugins/${name} OPTIONAL)
endforeach()
if(fragments)
  install(FILES ${fragments} DESTINATION share/panda/proto)
endif()
install(DIRECTORY skeleton DESTINATION share/panda)
foreach(arch ${PANDA_TARGETS})
  install(FILES ${CMAKE_BINARY_DIR}/plog/${arch}/plog.pb-c.h ${CMAKE_BINARY_DIR}/plog/${arch}/plog.pb.h
    DESTINATION include/panda/plog/${arch})
  install(FILES ${CMAKE_BINARY_DIR}/lib/panda/${arch}/libpanda_plog.a DESTINATION lib/panda/${arch})
endforeach()
install(FILES ${CMAKE_BINARY_DIR}/plog/x86_64/plog.desc DESTINATION share/panda)  # for plog_reader.py beside it
get_property(targets GLOBAL PROPERTY PANDA_PLUGIN_TARGETS)
foreach(target ${targets})
  string(REGEX REPLACE "^.*_plugin_" "" arch ${target})
  install(TARGETS ${target} LIBRARY DESTINATION lib/panda/${arch})
endforeach()
