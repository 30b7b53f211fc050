#pragma once

#include <sublet/result.hpp>

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace sublet::bench {

/// Where the two ends of a benchmark run.
struct CpuPair {
  int client = -1;
  int worker = -1;
};

/// The cores this process may run on, ascending.
Result<std::vector<int>> allowed_cpus();

/// "3,5" as client and worker. kInvalid when they are not two different allowed cores.
Result<CpuPair> parse_cpu_pair(const std::string& text, const std::vector<int>& allowed);

/// Two allowed cores, where possible not two hardware threads of one core. kInvalid when the
/// process may use only one.
Result<CpuPair> choose_cpu_pair(const std::vector<int>& allowed);

/// Another allowed core than `worker` for the client.
Result<CpuPair> choose_client_for(int worker, const std::vector<int>& allowed);

/// The first core of an hwloc list such as "3" or "2-3,7".
Result<int> first_cpu(const std::string& cpuset);

/// True when both are hardware threads of one core.
[[nodiscard]] bool share_a_core(int a, int b);

/// Binds a process (0: the calling thread) to one core.
Result<void> pin(pid_t pid, int cpu);

/// Binds the calling thread to one core until this goes, then to the cores it had before.
class PinnedThread {
 public:
  PinnedThread() = default;
  PinnedThread(PinnedThread&& other) noexcept : before_(std::exchange(other.before_, {})) {}
  PinnedThread& operator=(PinnedThread&&) = delete;
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;
  ~PinnedThread();

  static Result<PinnedThread> on(int cpu);

 private:
  std::vector<int> before_;
};

}  // namespace sublet::bench
