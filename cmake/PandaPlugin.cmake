# How plugins are built, in this tree and, through the development kit, outside of it.
#
# panda_plugin(NAME SOURCES files... [PROTO files...] [API header] [OUTPUT folder] [SCHEMA NAME]): for each
# target the shared object OUTPUT/ARCH/panda_NAME.so, CMake's target NAME_plugin_ARCH. PROTO: its fragments of
# the pandalog's schema; SCHEMA: one of panda_plog_schema(), in the place of the one that all plugins share. API:
# its NAME_int_fns.h (or NAME_int.h), of which NAME_ext.h is made.
# panda_plugin_directory(FOLDER): the plugins that FOLDER/config.panda lists.
#
# Plugins see include/, the older header names in include/compat, and other plugins' headers as "NAME/NAME.h" and
# "../NAME/NAME.h"; nothing of src/. The functions they call are the executable's.
#
# Who includes this sets PANDA_INCLUDE_DIR, PANDA_COMPAT_DIR, PANDA_APIGEN (the program or its target), PANDA_PLUGIN_API_DIR (where
# NAME/NAME_ext.h are made) and PANDA_PLUGIN_OUTPUT.
set(PANDA_TARGETS x86_64 i386)
set(PANDA_DEFINES_x86_64 TARGET_X86_64 TARGET_I386)
set(PANDA_DEFINES_i386 TARGET_I386)
# Beside NAME/, so that "../NAME/..." is found from any plugin.
file(MAKE_DIRECTORY ${PANDA_PLUGIN_API_DIR}/self)
add_custom_target(panda_plugin_api)

# NAME_ext.h from HEADER.
function(panda_plugin_api_header name header)
  set(made ${PANDA_PLUGIN_API_DIR}/${name}/${name}_ext.h)
  file(MAKE_DIRECTORY ${PANDA_PLUGIN_API_DIR}/${name})
  add_custom_command(OUTPUT ${made}
    COMMAND ${PANDA_APIGEN} ${name} ${header} ${made}
    DEPENDS ${header} ${PANDA_APIGEN} COMMENT "Making ${name}_ext.h" VERBATIM)
  add_custom_target(${name}_plugin_api DEPENDS ${made})
  add_dependencies(panda_plugin_api ${name}_plugin_api)
endfunction()

function(panda_plugin name)
  cmake_parse_arguments(ARG "" "OUTPUT;SCHEMA;API" "SOURCES;PROTO" ${ARGN})
  if(NOT ARG_SCHEMA)
    set(ARG_SCHEMA plog)
  endif()
  panda_plog_add(${ARG_SCHEMA} ${ARG_PROTO})
  if(ARG_API)
    panda_plugin_api_header(${name} ${ARG_API})
  endif()
  if(NOT ARG_OUTPUT)
    set(ARG_OUTPUT ${PANDA_PLUGIN_OUTPUT})
  endif()
  get_property(folders GLOBAL PROPERTY PANDA_PLUGIN_FOLDERS)
  foreach(arch ${PANDA_TARGETS})
    set(plugin ${name}_plugin_${arch})
    add_library(${plugin} MODULE ${ARG_SOURCES})
    set_target_properties(${plugin} PROPERTIES PREFIX "panda_" OUTPUT_NAME ${name} SUFFIX ".so"
      LIBRARY_OUTPUT_DIRECTORY ${ARG_OUTPUT}/${arch} C_EXTENSIONS ON CXX_EXTENSIONS ON)
    target_include_directories(${plugin} PRIVATE ${PANDA_INCLUDE_DIR} ${PANDA_COMPAT_DIR}
      ${folders} ${PANDA_PLUGIN_API_DIR} ${PANDA_PLUGIN_API_DIR}/self)
    target_link_libraries(${plugin} PRIVATE panda_${ARG_SCHEMA}_${arch} ${CMAKE_DL_LIBS})
    target_link_options(${plugin} PRIVATE LINKER:--as-needed)
    target_compile_features(${plugin} PRIVATE cxx_std_20)
    target_compile_definitions(${plugin} PRIVATE ${PANDA_DEFINES_${arch}} PLUGIN_NAME="${name}")
    # Without unique symbols two plugins that have the same class stay apart, and can be unloaded.
    target_compile_options(${plugin} PRIVATE -Wall -fno-strict-aliasing $<$<COMPILE_LANGUAGE:CXX>:-fno-gnu-unique>)
    if(PANDA_SANITIZE)
      target_compile_options(${plugin} PRIVATE -fsanitize=address,undefined -fno-omit-frame-pointer)
    endif()
    add_dependencies(${plugin} panda_plugin_api)
  endforeach()
endfunction()

# One name a line; '#' begins a comment. The older form is one line, PANDA_PLUGINS = NAME NAME ...
function(panda_read_config file out)
  file(STRINGS ${file} lines REGEX "^[ \t]*[^# \t]")
  set(names)
  foreach(line ${lines})
    string(REGEX REPLACE "#.*$" "" line "${line}")
    string(REGEX REPLACE "^[ \t]*PANDA_PLUGINS[ \t]*\\+?:?=" "" line "${line}")
    string(REGEX MATCHALL "[^ \t]+" words "${line}")
    list(APPEND names ${words})
  endforeach()
  list(REMOVE_DUPLICATES names)
  set(${out} ${names} PARENT_SCOPE)
endfunction()

function(panda_plugin_directory folder)
  if(NOT EXISTS ${folder}/config.panda)
    message(FATAL_ERROR "${folder}/config.panda is missing: it lists the plugins that are built, one a line")
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${folder}/config.panda)
  set_property(GLOBAL APPEND PROPERTY PANDA_PLUGIN_FOLDERS ${folder})
  panda_read_config(${folder}/config.panda names)
  foreach(name ${names})
    if(NOT name MATCHES "^[A-Za-z_][A-Za-z0-9_]*$")
      message(FATAL_ERROR "${folder}/config.panda: '${name}' is not a name that a plugin can have")
    endif()
    if(NOT IS_DIRECTORY ${folder}/${name})
      message(FATAL_ERROR "${folder}/config.panda lists ${name}, but there is no folder ${folder}/${name}")
    endif()
    if(TARGET ${name}_plugin_x86_64)
      message(FATAL_ERROR "${folder}/config.panda lists ${name}, but another folder has a plugin of that name")
    endif()
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/${name}/*.c ${folder}/${name}/*.cc ${folder}/${name}/*.cpp)
    if(NOT sources)
      message(FATAL_ERROR "${folder}/config.panda lists ${name}, but ${folder}/${name} holds no source (*.c, *.cc, *.cpp)")
    endif()
    file(GLOB fragments CONFIGURE_DEPENDS ${folder}/${name}/*.proto)
    set(api)
    foreach(header ${name}_int_fns.h ${name}_int.h)
      if(NOT api AND EXISTS ${folder}/${name}/${header})
        set(api API ${folder}/${name}/${header})
      endif()
    endforeach()
    panda_plugin(${name} SOURCES ${sources} PROTO ${fragments} ${api})
    set_property(GLOBAL APPEND PROPERTY PANDA_KIT_FRAGMENTS ${fragments})
    set_property(GLOBAL APPEND PROPERTY PANDA_KIT_FOLDERS ${folder}/${name})
    # A plugin's own needs: libraries, definitions, further options on its targets NAME_plugin_ARCH.
    include(${folder}/${name}/plugin.cmake OPTIONAL)
    foreach(arch ${PANDA_TARGETS})
      set_property(GLOBAL APPEND PROPERTY PANDA_PLUGIN_TARGETS ${name}_plugin_${arch})
    endforeach()
  endforeach()
endfunction()
