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

# sublet_module(NAME SOURCES... USES...): a static library that is linked into libsublet, the
# executor, the managers and the tests. USES names the modules and packages it may include.
function(sublet_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_library(sublet_${name} STATIC ${arg_SOURCES})
  target_include_directories(sublet_${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/runtime>"
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/runtime/include>")
  target_link_libraries(sublet_${name} PRIVATE sublet_flags PUBLIC ${arg_USES})
endfunction()
