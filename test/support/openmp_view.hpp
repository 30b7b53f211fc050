#pragma once

#include <cstdint>

namespace test {

/// What openmp_functions.cpp reports. Sets of processors are masks of the first 64.
struct OpenmpView {
  std::uint64_t worker;          ///< Of the thread that runs the function.
  std::uint64_t team;            ///< Of all threads of an OpenMP team together.
  std::uint64_t thread;          ///< Of a std::thread.
  std::uint64_t loaders_thread;  ///< Of a thread that the library started as it was loaded.
  std::uint32_t threads;         ///< Of the team.
  std::uint32_t max_threads;
  std::uint32_t processors;  ///< omp_get_num_procs().
  std::uint32_t hardware_concurrency;
  std::uint32_t processors_of_child;  ///< What nproc says.
  std::uint32_t bound;                ///< OMP_PROC_BIND is set.
};

}  // namespace test
