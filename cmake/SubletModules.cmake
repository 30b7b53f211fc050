# How a module of Sublet is declared: a folder, a target, a list of what it may use.

# Warnings and sanitizers that all of our own code is compiled with.
add_library(sublet_flags INTERFACE)
target_compile_options(sublet_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  $<$<BOOL:${SUBLET_WERROR}>:-Werror>)
if(SUBLET_SANITIZE)
  string(REPLACE ";" "," _sanitize "${SUBLET_SANITIZE}")
  target_compile_options(sublet_flags INTERFACE -fsanitize=${_sanitize} -fno-omit-frame-pointer)
  target_link_options(sublet_flags INTERFACE -fsanitize=${_sanitize})
endif()

# sublet_hide_names(TARGET [EXPORTS PATTERN... [C_EXPORTS PATTERN...]]): of TARGET, or of the shared
# library that it becomes part of, only what SUBLET_API or SUBLET_C_API marks is visible outside. EXPORTS
# is for the shared library itself: names that fit no pattern stay inside, even where the headers of std
# or Boost mark them as visible. C_EXPORTS are names of C.
function(sublet_hide_names target)
  cmake_parse_arguments(arg "" "" "EXPORTS;C_EXPORTS" ${ARGN})
  set_target_properties(${target} PROPERTIES
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(arg_EXPORTS)
    list(JOIN arg_EXPORTS "; " SUBLET_EXPORT_PATTERNS)
    set(SUBLET_C_EXPORT_PATTERNS "")
    foreach(_pattern IN LISTS arg_C_EXPORTS)
      string(APPEND SUBLET_C_EXPORT_PATTERNS "${_pattern}; ")
    endforeach()
    set(_script "${CMAKE_CURRENT_BINARY_DIR}/${target}.map")
    file(CONFIGURE OUTPUT "${_script}" CONTENT
      "{ global: @SUBLET_C_EXPORT_PATTERNS@extern \"C++\" { @SUBLET_EXPORT_PATTERNS@; }; local: *; };\n" @ONLY)
    target_link_options(${target} PRIVATE "LINKER:--version-script=${_script}")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${_script}")
  endif()
endfunction()

# sublet_module(NAME SOURCES... USES...): a static library that is linked into libsublet, the
# executor, the managers and the tests. USES names the modules and packages it may include.
function(sublet_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_library(sublet_${name} STATIC ${arg_SOURCES})
  sublet_hide_names(sublet_${name})
  target_include_directories(sublet_${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/runtime>"
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/runtime/include>")
  target_link_libraries(sublet_${name} PRIVATE sublet_flags PUBLIC ${arg_USES})
endfunction()

# sublet_fortran(NAME SOURCES... USES...): a static library of Fortran modules, whose .mod files lie in a
# folder of their own.
function(sublet_fortran name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  set(_modules "${CMAKE_CURRENT_BINARY_DIR}/modules")
  set_target_properties(${name} PROPERTIES Fortran_MODULE_DIRECTORY "${_modules}")
  target_compile_options(${name} PRIVATE -std=f2018 -Wall -Wextra $<$<BOOL:${SUBLET_WERROR}>:-Werror>)
  target_include_directories(${name} PUBLIC "$<BUILD_INTERFACE:${_modules}>")
  target_link_libraries(${name} PUBLIC ${arg_USES})
  if(SUBLET_SANITIZE)  # what links them has no sublet_flags
    string(REPLACE ";" "," _sanitize "${SUBLET_SANITIZE}")
    target_link_options(${name} INTERFACE -fsanitize=${_sanitize})
  endif()
endfunction()

# sublet_unity(TARGET...): some files of each are compiled as one, in presets that want it (SUBLET_UNITY).
# What they all instantiate, of KJ and spdlog above all, is compiled once then, in half the time. Not
# for hot paths, whose code must not depend on their neighbours. Names in unnamed namespaces, and what is
# `using`, must differ between the files of a target.
function(sublet_unity)
  if(SUBLET_UNITY)
    set_target_properties(${ARGV} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
endfunction()

# sublet_unity_group(TARGET GROUP file...): of a TARGET with hot paths, these files of the calling folder
# are compiled as one; the others stay alone.
function(sublet_unity_group target group)
  if(SUBLET_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
    set_source_files_properties(${ARGN} TARGET_DIRECTORY ${target} PROPERTIES UNITY_GROUP ${group})
  endif()
endfunction()

# Headers of others that many files of a kind include: parsed once for all of them. Never headers of our
# own, whose every change would compile everything again.
set(SUBLET_PRECOMPILED_STD <algorithm> <array> <atomic> <chrono> <filesystem> <fstream> <functional>
  <map> <memory> <mutex> <optional> <span> <string> <thread> <utility> <variant> <vector>)
set(SUBLET_PRECOMPILED_BASE ${SUBLET_PRECOMPILED_STD} <spdlog/spdlog.h> <tl/expected.hpp>)
set(SUBLET_PRECOMPILED_RPC ${SUBLET_PRECOMPILED_BASE} <capnp/rpc-twoparty.h> <kj/async-io.h>)
set(SUBLET_PRECOMPILED_COMMAND ${SUBLET_PRECOMPILED_RPC} <boost/program_options.hpp>
  <nlohmann/json.hpp>)
