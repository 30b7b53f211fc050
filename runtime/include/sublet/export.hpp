#pragma once

#if __cplusplus < 202002L
#error "Sublet's headers need C++20: compile with -std=c++20 (CMake: set(CMAKE_CXX_STANDARD 20))"
#endif

/// Marks what libsublet and libsublet_mpi export. They are compiled with hidden visibility, so a
/// name without it can neither be called from outside nor clash with one of the application's.
#define SUBLET_API __attribute__((visibility("default")))
