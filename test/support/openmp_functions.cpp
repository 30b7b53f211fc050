// What functions with threads of their own see of their worker.
#include "openmp_view.hpp"
#include <sublet/function.hpp>

#include <omp.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

std::uint64_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof(set), &set);
  std::uint64_t mask = 0;
  for (int i = 0; i < 64; ++i) mask |= std::uint64_t{CPU_ISSET(i, &set) ? 1u : 0u} << i;
  return mask;
}

/// What a program counts that the function starts.
std::uint32_t processors_of_child() {
  FILE* program = ::popen("env -u OMP_NUM_THREADS nproc", "r");
  if (program == nullptr) return 0;
  unsigned count = 0;
  if (std::fscanf(program, "%u", &count) != 1) count = 0;
  ::pclose(program);
  return count;
}

std::uint64_t g_loaders_thread;
__attribute__((constructor)) void start_a_thread() {
  std::thread([] { g_loaders_thread = affinity(); }).join();
}

}  // namespace

SUBLET_FUNCTION(look_around, const std::uint8_t&, test::OpenmpView& view) {
  view.worker = affinity();
  view.max_threads = static_cast<std::uint32_t>(omp_get_max_threads());
  view.processors = static_cast<std::uint32_t>(omp_get_num_procs());
  view.hardware_concurrency = std::thread::hardware_concurrency();
  std::thread([&] { view.thread = affinity(); }).join();
  view.loaders_thread = g_loaders_thread;
  view.processors_of_child = processors_of_child();
  std::uint64_t team = 0;
  std::uint32_t threads = 0;
#pragma omp parallel reduction(| : team) reduction(+ : threads)
  {
    team |= affinity();
    threads += 1;
  }
  view.team = team;
  view.threads = threads;
  const char* bound = std::getenv("OMP_PROC_BIND");
  view.bound = bound != nullptr ? 1 : 0;
}

// For a while, so that two of them run at the same time.
SUBLET_FUNCTION(look_around_for_ms, const std::uint32_t& ms, test::OpenmpView& view) {
  const double end = omp_get_wtime() + ms / 1000.0;
  std::uint64_t team = 0;
  do {
#pragma omp parallel reduction(| : team)
    team |= affinity();
  } while (omp_get_wtime() < end);
  view.team = team;
  view.worker = affinity();
  view.max_threads = static_cast<std::uint32_t>(omp_get_max_threads());
}
