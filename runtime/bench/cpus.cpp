#include "cpus.hpp"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>

namespace sublet::bench {
namespace {

// The kernel refuses a mask smaller than its own; this is far above any machine's.
constexpr int kMaxCpus = 1 << 16;

struct CpuSetFree {
  void operator()(cpu_set_t* set) const noexcept { CPU_FREE(set); }
};
using CpuSetPtr = std::unique_ptr<cpu_set_t, CpuSetFree>;

std::string to_list(const std::vector<int>& cpus) {
  std::string text;
  for (const int cpu : cpus) text += (text.empty() ? "" : ",") + std::to_string(cpu);
  return text;
}

bool parse_cpu(const char*& at, const char* end, int& cpu) {
  const auto [next, error] = std::from_chars(at, end, cpu);
  if (error != std::errc{} || cpu < 0 || cpu >= kMaxCpus) return false;
  at = next;
  return true;
}

Result<void> bind(pid_t pid, const std::vector<int>& cpus) {
  const CpuSetPtr set(CPU_ALLOC(kMaxCpus));
  const std::size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  CPU_ZERO_S(bytes, set.get());
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), bytes, set.get());
  if (::sched_setaffinity(pid, bytes, set.get()) == 0) return {};
  return fail(ErrorKind::kInvalid,
              "binding a benchmark process to core " + to_list(cpus) + ": " + std::strerror(errno),
              errno);
}

}  // namespace

Result<std::vector<int>> allowed_cpus() {
  const CpuSetPtr set(CPU_ALLOC(kMaxCpus));
  const std::size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  if (::sched_getaffinity(0, bytes, set.get()) != 0) {
    return fail(ErrorKind::kInternal,
                std::string("asking which cores this process may use: ") + std::strerror(errno),
                errno);
  }
  std::vector<int> cpus;
  for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
    if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, set.get())) cpus.push_back(cpu);
  }
  return cpus;
}

Result<CpuPair> parse_cpu_pair(const std::string& text, const std::vector<int>& allowed) {
  CpuPair pair;
  const char* at = text.data();
  const char* const end = at + text.size();
  if (!parse_cpu(at, end, pair.client) || at == end || *at++ != ',' ||
      !parse_cpu(at, end, pair.worker) || at != end) {
    return fail(ErrorKind::kInvalid,
                "--cpus: expected two core numbers, CLIENT,WORKER, and got '" + text + "'");
  }
  if (pair.client == pair.worker) {
    return fail(ErrorKind::kInvalid, "--cpus: client and worker need a core each and '" + text +
                                         "' names one; both would wait for each other's turn");
  }
  for (const int cpu : {pair.client, pair.worker}) {
    if (std::find(allowed.begin(), allowed.end(), cpu) == allowed.end()) {
      return fail(ErrorKind::kInvalid, "--cpus: core " + std::to_string(cpu) +
                                           " is not one this process may use (" + to_list(allowed) +
                                           ")");
    }
  }
  return pair;
}

Result<CpuPair> choose_cpu_pair(const std::vector<int>& allowed) {
  if (allowed.size() < 2) {
    return fail(ErrorKind::kInvalid,
                "a benchmark needs two cores, one for the client and one for the worker, and this "
                "process may use only core " +
                    to_list(allowed) + "; give it another (taskset, the job's CPU count)");
  }
  for (std::size_t i = 1; i < allowed.size(); ++i) {
    if (!share_a_core(allowed[0], allowed[i])) return CpuPair{allowed[0], allowed[i]};
  }
  return CpuPair{allowed[0], allowed[1]};
}

Result<CpuPair> choose_client_for(int worker, const std::vector<int>& allowed) {
  for (const bool accept_sibling : {false, true}) {
    for (const int cpu : allowed) {
      if (cpu != worker && (accept_sibling || !share_a_core(cpu, worker))) {
        return CpuPair{cpu, worker};
      }
    }
  }
  return fail(ErrorKind::kInvalid, "the lease's worker has core " + std::to_string(worker) +
                                       " and the client may use no other (" + to_list(allowed) +
                                       "); give this process another core (taskset)");
}

Result<int> first_cpu(const std::string& cpuset) {
  int cpu = -1;
  const char* at = cpuset.data();
  if (!parse_cpu(at, at + cpuset.size(), cpu)) {
    return fail(ErrorKind::kInvalid, "'" + cpuset + "' is no list of cores");
  }
  return cpu;
}

bool share_a_core(int a, int b) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(a) +
                     "/topology/thread_siblings_list");
  std::string item;
  while (std::getline(file, item, ',')) {
    int low = -1;
    int high = -1;
    const char* at = item.data();
    const char* const end = at + item.size();
    if (!parse_cpu(at, end, low)) return false;
    high = low;
    if (at != end && *at == '-' && !parse_cpu(++at, end, high)) return false;
    if (b >= low && b <= high) return true;
  }
  return false;
}

Result<void> pin(pid_t pid, int cpu) {
  return bind(pid, {cpu});
}

PinnedThread::~PinnedThread() {
  // Nothing to be done should it fail: the thread then stays where it is.
  if (!before_.empty()) static_cast<void>(bind(0, before_));
}

Result<PinnedThread> PinnedThread::on(int cpu) {
  auto before = allowed_cpus();
  if (!before) return tl::unexpected<Error>(std::move(before.error()));
  if (auto pinned = pin(0, cpu); !pinned) return tl::unexpected<Error>(std::move(pinned.error()));
  PinnedThread thread;
  thread.before_ = std::move(*before);
  return thread;
}

}  // namespace sublet::bench
