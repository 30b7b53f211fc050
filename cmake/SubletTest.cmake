# How tests are declared. Every test has a time limit and a label (the suite it belongs to), may run
# beside all others, and is found by ctest without running anything at build time.

include(GoogleTest)

# Adds every folder below the current one that has a CMakeLists.txt: a suite is added by adding it.
function(sublet_add_suites)
  file(GLOB _lists CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*/CMakeLists.txt")
  foreach(_list IN LISTS _lists)
    get_filename_component(_folder "${_list}" DIRECTORY)
    add_subdirectory("${_folder}")
  endforeach()
endfunction()

# Where this directory's tests belong: the first folder below test/, for instance "unit".
function(_sublet_suite result)
  file(RELATIVE_PATH _path "${PROJECT_SOURCE_DIR}/test" "${CMAKE_CURRENT_SOURCE_DIR}")
  string(REGEX REPLACE "/.*" "" _suite "${_path}")
  set(${result} "${_suite}" PARENT_SCOPE)
endfunction()

# sublet_mpiexec(RESULT KIND): the launcher of an MPI with what it needs to start more ranks than the
# machine has cores, in a room of their own that has to be empty afterwards. "-n RANKS PROGRAM" follows.
function(sublet_mpiexec result kind)
  set(${result} "${PROJECT_SOURCE_DIR}/test/support/run_clean.sh" "${SUBLET_MPIEXEC_${kind}}"
    ${SUBLET_MPIEXEC_FLAGS_${kind}} PARENT_SCOPE)
endfunction()

# sublet_mpi_labels(RESULT KIND): tests under the build's own MPI are "mpi", those under each are its kind.
function(sublet_mpi_labels result kind)
  set(_labels ${kind})
  if(kind STREQUAL SUBLET_OWN_MPI)
    list(PREPEND _labels mpi)
  endif()
  set(${result} "${_labels}" PARENT_SCOPE)
endfunction()

# sublet_test(NAME SOURCES file... [USES target...] [LABELS label...] [TIMEOUT seconds]
#             [MPI ranks...] [UNDER kind] [ENVIRONMENT NAME=value...] [SERIAL] [RDMA_GUEST]
#             [LABEL_OF label regex])
#
# A GoogleTest program NAME (by convention <module>_test) in the build tree's bin/. Its main() comes
# from test/support. Each TEST becomes a ctest test of its own, <module>.<Subject>.<Does...>.
#   USES         modules and packages, as in sublet_module; GoogleTest is always there.
#   LABELS       beside the suite's own (the folder's name: unit, system, ...).
#   LABEL_OF     one more label, for those of the program's tests whose names match.
#   TIMEOUT      of one TEST, 60 s unless given: the net under tests that bound their own waits.
#   MPI          runs the whole program under mpiexec instead, once for each number of ranks, as
#                <module>.np<ranks>; every rank runs every TEST, and one rank's failure is a failure.
#   UNDER        which MPI, of SUBLET_MPIS; the build's own unless given.
#   ENVIRONMENT  for the test only.
#   SERIAL       nothing else runs meanwhile; for what measures.
#   RDMA_GUEST   needs an RDMA device: ctest lists it only where SUBLET_RDMA_GUEST is set, as it is in the
#                guest of test/rdma_vm, and gives it the label rdma_guest. The guest is emulated: such
#                tests take ten times as long there.
function(sublet_test name)
  cmake_parse_arguments(arg "SERIAL;RDMA_GUEST" "TIMEOUT;UNDER"
    "SOURCES;USES;LABELS;LABEL_OF;MPI;ENVIRONMENT" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "sublet_test(${name}): what is '${arg_UNPARSED_ARGUMENTS}'?")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  set(_main sublet_test_main)
  if(arg_MPI)
    if(NOT SUBLET_BUILD_MPI)
      return()
    endif()
    if(NOT arg_UNDER)
      set(arg_UNDER ${SUBLET_OWN_MPI})
    endif()
    set(_main sublet_mpi_test_main_${arg_UNDER})
    sublet_mpiexec(_mpiexec ${arg_UNDER})
    sublet_mpi_labels(_mpi_labels ${arg_UNDER})
  endif()
  _sublet_suite(_suite)
  set(_labels "${_suite}" ${arg_LABELS})
  if(arg_RDMA_GUEST)
    list(APPEND _labels rdma_guest)
  endif()

  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE sublet_flags ${arg_USES} ${_main})
  # One precompiled header for all: <gtest/gtest.h> alone is two thirds of a small test's compile time.
  target_compile_options(${name} PRIVATE ${SUBLET_TEST_OPTIONS})
  target_precompile_headers(${name} REUSE_FROM sublet_test_main)
  sublet_unity(${name})

  string(REGEX REPLACE "_test$" "" _prefix "${name}")
  set(_properties TIMEOUT ${arg_TIMEOUT})
  if(arg_SERIAL)
    list(APPEND _properties RUN_SERIAL TRUE)
  endif()
  if(arg_MPI)
    foreach(_ranks IN LISTS arg_MPI)
      set(_test "${_prefix}.np${_ranks}")
      if(arg_RDMA_GUEST)
        sublet_rdma_guest_test(${_test} TIMEOUT ${arg_TIMEOUT} LABELS ${_labels} ${_mpi_labels}
          ENVIRONMENT ${SUBLET_MPI_TEST_ENVIRONMENT} ${arg_ENVIRONMENT}
          COMMAND ${_mpiexec} -n ${_ranks} $<TARGET_FILE:${name}>)
        continue()
      endif()
      add_test(NAME ${_test} COMMAND ${_mpiexec} -n ${_ranks} $<TARGET_FILE:${name}>)
      set_tests_properties(${_test} PROPERTIES ${_properties} PROCESSORS ${_ranks}
        LABELS "${_labels};${_mpi_labels}" ENVIRONMENT "${SUBLET_MPI_TEST_ENVIRONMENT};${arg_ENVIRONMENT}")
    endforeach()
  else()
    _sublet_discover(${name} ${_prefix} "${_properties}" "${_labels}" "${arg_ENVIRONMENT}"
      ${arg_RDMA_GUEST} ${arg_LABEL_OF})
  endif()
endfunction()

# Each TEST of the program `target` as a ctest test <prefix>.<Subject>.<Does...>.
function(_sublet_discover target prefix properties labels environment in_guest)
  set(_more "")
  if(ARGC EQUAL 8)
    list(GET ARGN 0 _label)
    list(GET ARGN 1 _regex)
    string(CONFIGURE [=[
foreach(_test IN LISTS @prefix@_TESTS)
  if(_test MATCHES "@_regex@")
    set_tests_properties("${_test}" PROPERTIES LABELS "@labels@;@_label@")
  endif()
endforeach()
]=] _more @ONLY)
  endif()
  get_property(_includes DIRECTORY PROPERTY TEST_INCLUDE_FILES)
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST TEST_PREFIX "${prefix}."
    TEST_LIST ${prefix}_TESTS PROPERTIES ${properties})
  # Properties that are lists do not survive gtest_discover_tests. ctest reads this file after it.
  file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/${prefix}_properties.cmake" @ONLY CONTENT [=[
set_tests_properties(${@prefix@_TESTS} PROPERTIES LABELS "@labels@" ENVIRONMENT "@environment@")
@_more@]=])
  set_property(DIRECTORY APPEND PROPERTY
    TEST_INCLUDE_FILES "${CMAKE_CURRENT_BINARY_DIR}/${prefix}_properties.cmake")
  if(in_guest)
    get_property(_own DIRECTORY PROPERTY TEST_INCLUDE_FILES)
    if(_includes)
      list(REMOVE_ITEM _own ${_includes})
    endif()
    set_property(DIRECTORY PROPERTY TEST_INCLUDE_FILES ${_includes})
    _sublet_include_in_guest(${prefix} ${_own})
  endif()
endfunction()

# sublet_test_again(NAME TARGET program ENVIRONMENT NAME=value... [LABELS label...] [TIMEOUT seconds]
#                   [RDMA_GUEST])
#
# The tests of a program that sublet_test() declared, once more in another environment, as
# NAME.<Subject>.<Does...>.
function(sublet_test_again name)
  cmake_parse_arguments(arg "RDMA_GUEST" "TARGET;TIMEOUT" "LABELS;ENVIRONMENT" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  _sublet_suite(_suite)
  set(_labels "${_suite}" ${arg_LABELS})
  if(arg_RDMA_GUEST)
    list(APPEND _labels rdma_guest)
  endif()
  _sublet_discover(${arg_TARGET} ${name} "TIMEOUT;${arg_TIMEOUT}" "${_labels}"
    "${arg_ENVIRONMENT}" ${arg_RDMA_GUEST})
endfunction()

# Makes ctest read these files, but only where SUBLET_RDMA_GUEST is set.
function(_sublet_include_in_guest name)
  list(TRANSFORM ARGN REPLACE "(.+)" "  include([==[\\1]==])" OUTPUT_VARIABLE _lines)
  list(JOIN _lines "\n" _lines)
  set(_gate "${CMAKE_CURRENT_BINARY_DIR}/${name}_in_guest.cmake")
  file(WRITE "${_gate}" "if(DEFINED ENV{SUBLET_RDMA_GUEST})\n${_lines}\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${_gate}")
endfunction()

# sublet_rdma_guest_test(NAME TIMEOUT seconds LABELS label... [ENVIRONMENT NAME=value...] COMMAND word...)
#
# As add_test() with these properties, for a command that needs an RDMA device: see RDMA_GUEST above.
function(sublet_rdma_guest_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "LABELS;ENVIRONMENT;COMMAND" ${ARGN})
  list(APPEND arg_LABELS rdma_guest)
  list(REMOVE_DUPLICATES arg_LABELS)
  list(TRANSFORM arg_COMMAND REPLACE "(.+)" "[==[\\1]==]" OUTPUT_VARIABLE _command)
  list(JOIN _command " " _command)
  set(_file "${CMAKE_CURRENT_BINARY_DIR}/${name}_test.cmake")
  file(GENERATE OUTPUT "${_file}" CONTENT "add_test([==[${name}]==] ${_command})
set_tests_properties([==[${name}]==] PROPERTIES TIMEOUT ${arg_TIMEOUT}
  LABELS \"${arg_LABELS}\" ENVIRONMENT \"${arg_ENVIRONMENT}\")
")
  _sublet_include_in_guest(${name} "${_file}")
endfunction()
