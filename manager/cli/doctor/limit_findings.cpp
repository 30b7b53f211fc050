#include <cli/doctor/limit_findings.hpp>
#include <resource_manager/refusal_text.hpp>

#include <sys/resource.h>

#include <cstdint>
#include <optional>

namespace sublet::cli {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

/// The arena that a lease has unless it asks for another size, mapped whole.
constexpr std::uint64_t kArena = kGiB;
/// That arena, and what a process has besides: libraries, stacks, the allocator's arenas.
constexpr std::uint64_t kAddressSpace = 4 * kGiB;
/// The stack of one thread, and a little heap.
constexpr std::uint64_t kData = 64 * kMiB;
/// An application has ten for a session and up to eight for each worker: 64 workers.
constexpr std::uint64_t kDescriptors = 1024;
/// A manager keeps a connection to each node and client.
constexpr std::uint64_t kManagersDescriptors = 16384;
/// Threads and processes: a thread for each worker, beside what the user runs anyway.
constexpr std::uint64_t kProcesses = 1024;

struct Limit {
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};
constexpr std::uint64_t kNone = RLIM_INFINITY;

Limit limit_of(__rlimit_resource resource) {
  rlimit limit{};
  ::getrlimit(resource, &limit);  // fails for no resource that exists
  return {limit.rlim_cur, limit.rlim_max};
}

std::string amount_text(std::uint64_t amount, bool bytes) {
  if (amount == kNone) return "without limit";
  if (!bytes) return std::to_string(amount);
  // Smaller ones in the unit that `ulimit` takes.
  return amount < kGiB ? std::to_string(amount >> 10) + " KiB" : manager::bytes_text(amount);
}

std::string raise_text(const char* flag, const std::string& to, const char* item) {
  return std::string("raise it with 'ulimit ") + flag + " " + to + "' or a " + item +
         " line in /etc/security/limits.conf";
}

Finding locked_memory(bool locks_memory) {
  const Limit limit = limit_of(RLIMIT_MEMLOCK);
  Finding finding{Grade::kOk, "locked memory", amount_text(limit.soft, true)};
  if (limit.soft == kNone) return finding;
  if (!locks_memory) {
    finding.found += " (no transport of this node needs more)";
    return finding;
  }
  finding.grade = Grade::kNote;
  finding.wanted = "without limit: RDMA registers the memory that calls use";
  finding.advice = raise_text("-l", "unlimited", "memlock");
  return finding;
}

/// What should be at least `least`; below `fault` even the defaults fail.
struct Wanted {
  __rlimit_resource resource;
  const char* what;
  const char* flag;
  const char* item;  ///< Of limits.conf.
  bool bytes;
  std::uint64_t least;
  std::uint64_t fault;
  const char* why;
};

Finding look_at(const Wanted& wanted) {
  const Limit limit = limit_of(wanted.resource);
  Finding finding{Grade::kOk, wanted.what, amount_text(limit.soft, wanted.bytes)};
  if (limit.soft >= wanted.least) return finding;
  finding.grade = limit.soft < wanted.fault ? Grade::kFault : Grade::kNote;
  finding.found += std::string(" (ulimit ") + wanted.flag + ")";
  finding.wanted = amount_text(wanted.least, wanted.bytes) + " at least: " + wanted.why;
  // ulimit takes KiB, and of files blocks of that size in bash.
  const std::string to = wanted.bytes ? "unlimited" : std::to_string(wanted.least);
  finding.advice = raise_text(wanted.flag, to, wanted.item);
  return finding;
}

Finding descriptors() {
  Finding finding = look_at({RLIMIT_NOFILE, "open files", "-n", "nofile", false, kDescriptors, 64,
                             "a session takes about ten, and each worker up to eight"});
  const Limit limit = limit_of(RLIMIT_NOFILE);
  finding.found += ", at most " + amount_text(limit.hard, false);
  if (finding.grade == Grade::kOk && limit.hard < kManagersDescriptors) {
    finding.grade = Grade::kNote;
    finding.wanted =
        std::to_string(kManagersDescriptors) +
        " at most, which managers raise it to: they keep a connection to each node and "
        "client";
    finding.advice = raise_text("-Hn", std::to_string(kManagersDescriptors), "hard nofile");
  }
  return finding;
}

}  // namespace

Findings limit_findings(bool locks_memory) {
  Findings findings;
  findings.push_back(locked_memory(locks_memory));
  findings.push_back(look_at({RLIMIT_FSIZE, "file size", "-f", "fsize", true, kArena, kMiB,
                              "it holds for shared memory too, and a lease's arena has so much"}));
  findings.push_back(
      look_at({RLIMIT_AS, "address space", "-v", "as", true, kAddressSpace, kArena,
               "a lease's arena is mapped whole, 1 GiB unless asked for another size"}));
  findings.push_back(look_at({RLIMIT_DATA, "data size", "-d", "data", true, kData, kMiB * 16,
                              "threads' stacks count as data"}));
  findings.push_back(look_at({RLIMIT_NPROC, "processes and threads", "-u", "nproc", false,
                              kProcesses, 32, "each worker is a thread"}));
  findings.push_back(descriptors());
  return findings;
}

}  // namespace sublet::cli
