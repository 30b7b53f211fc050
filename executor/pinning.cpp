#include <executor/backtrace.hpp>
#include <executor/pinning.hpp>

#include <atomic>
#include <string>

namespace sublet::executor {

void pin_this_thread(const topology::Topology& topology, const topology::Cpuset& cores) {
  static std::atomic<bool> said{false};
  const auto bound = topology.bind_this_thread(cores);
  if (bound || said.exchange(true, std::memory_order_relaxed)) return;
  write_error_line(std::string(bound.error().what()) +
                   "; going on with workers that are not pinned (does a container's filter refuse "
                   "sched_setaffinity, or has the cpuset of the executor manager changed? then "
                   "allow it, or start the manager again)");
}

}  // namespace sublet::executor
