# panda_library(FOLDER [LINK targets...]): the folder src/FOLDER as the static library panda_<name>,
# from its *.cpp but *_test.cpp, and those as the test program <name>_test. The name is the folder's
# last part. A folder without sources becomes an interface library, so that it can be linked already.
function(panda_library folder)
  cmake_parse_arguments(ARG "" "" "LINK;TEST_LINK" ${ARGN})
  get_filename_component(name ${folder} NAME)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  if(sources)
    add_library(panda_${name} STATIC ${sources})
    target_link_libraries(panda_${name} PUBLIC panda_options ${ARG_LINK})
  else()
    add_library(panda_${name} INTERFACE)
    target_link_libraries(panda_${name} INTERFACE panda_options ${ARG_LINK})
  endif()
  if(PANDA_TESTS AND tests)
    panda_test(${name}_test SOURCES ${tests} LINK panda_${name} ${ARG_TEST_LINK})
  endif()
endfunction()

# panda_test(NAME SOURCES files... [LINK targets...]): a GoogleTest program, each test known to ctest.
function(panda_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()
