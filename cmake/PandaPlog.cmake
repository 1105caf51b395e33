# The pandalog's schema: plugins' .proto fragments merged into one plog.proto per target, and the
# classes made from it. One schema, `plog`, is shared by all plugins of the build; a plugin may have
# another.
#
# panda_plog_schema(NAME DIRECTORY folder [BASE NAME]): the libraries panda_NAME_ARCH, whose users
# include "plog.pb-c.h" and "plog.pb.h". They are made when all of CMakeLists.txt has been read, from
# the fragments of BASE and those given to panda_plog_add(NAME files...), into folder/ARCH/.
#
# The classes are linked into each plugin that uses them, and hidden: plugins that were made with
# different schemas can be loaded together. So they are of protobuf's lite runtime, which registers nothing.
#
# Who includes this outside of PANDA's tree sets PANDA_PLOG_PROTO and PANDA_PLOG_LIBRARIES.
if(NOT PANDA_PLOG_PROTO)
  set(PANDA_PLOG_PROTO ${CMAKE_CURRENT_LIST_DIR}/../scripts/plog_proto.py)
  set(PANDA_PLOG_LIBRARIES PkgConfig::protobuf_c PkgConfig::protobuf_lite)
endif()
find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)

function(panda_plog_add name)
  set_property(GLOBAL APPEND PROPERTY PANDA_PLOG_FRAGMENTS_${name} ${ARGN})
endfunction()

function(panda_plog_schema name)
  cmake_parse_arguments(ARG "" "DIRECTORY;BASE" "" ${ARGN})
  foreach(arch x86_64 i386)
    set(folder ${ARG_DIRECTORY}/${arch})
    file(MAKE_DIRECTORY ${folder})
    set(generated ${folder}/plog.pb-c.c ${folder}/plog.pb.cc)
    set_source_files_properties(${generated} PROPERTIES GENERATED ON)
    add_library(panda_${name}_${arch} STATIC ${generated})
    set_target_properties(panda_${name}_${arch} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    set_target_properties(panda_${name}_${arch} PROPERTIES C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden)
    target_include_directories(panda_${name}_${arch} PUBLIC ${folder})
    target_link_libraries(panda_${name}_${arch} PUBLIC ${PANDA_PLOG_LIBRARIES})
    target_compile_options(panda_${name}_${arch} PRIVATE -O2 $<$<COMPILE_LANGUAGE:CXX>:-fno-gnu-unique>)
  endforeach()
  cmake_language(EVAL CODE "cmake_language(DEFER CALL panda_plog_generate_ [[${name}]] [[${ARG_DIRECTORY}]] [[${ARG_BASE}]])")
endfunction()

# Internal: what makes the sources, now that all fragments are known.
function(panda_plog_generate_ name directory base)
  get_property(fragments GLOBAL PROPERTY PANDA_PLOG_FRAGMENTS_${name})
  if(base)
    get_property(more GLOBAL PROPERTY PANDA_PLOG_FRAGMENTS_${base})
    list(PREPEND fragments ${more})
  endif()
  foreach(arch x86_64 i386)
    set(folder ${directory}/${arch})
    add_custom_command(
      OUTPUT ${folder}/plog.proto ${folder}/plog.desc ${folder}/plog.pb-c.c ${folder}/plog.pb-c.h ${folder}/plog.pb.cc ${folder}/plog.pb.h
      COMMAND ${Python3_EXECUTABLE} ${PANDA_PLOG_PROTO} -o ${folder}/plog.proto ${fragments}
      COMMAND ${Python3_EXECUTABLE} ${PANDA_PLOG_PROTO} --run ${folder}/plog.proto ${PROTOC_C} -I${folder} --c_out=${folder} ${folder}/plog.proto
      COMMAND ${Python3_EXECUTABLE} ${PANDA_PLOG_PROTO} --run ${folder}/plog.proto ${PROTOC} -I${folder} --cpp_out=lite:${folder} --descriptor_set_out=${folder}/plog.desc ${folder}/plog.proto
      DEPENDS ${PANDA_PLOG_PROTO} ${fragments}
      COMMENT "Merging the pandalog schema ${name} for ${arch}" VERBATIM)
    add_custom_target(panda_${name}_${arch}_sources DEPENDS ${folder}/plog.pb.h)
    add_dependencies(panda_${name}_${arch} panda_${name}_${arch}_sources)
  endforeach()
endfunction()
