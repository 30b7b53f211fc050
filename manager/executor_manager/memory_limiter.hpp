#pragma once

#include <base/fd.hpp>
#include <executor_manager/background_thread.hpp>
#include <executor_manager/memory_cgroup.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

namespace sublet::manager {

/// Puts executors into memory cgroups without making anybody wait: moving a process into a cgroup
/// costs the kernel some 12 ms when it has not done so lately, many times a cold start. So an
/// executor runs its first milliseconds under its RLIMIT_DATA alone. See kLimitAfter in
/// executor.cpp.
///
/// Owner: the executor manager; outlives what it limits. Called from the event loop's thread.
class MemoryLimiter {
 public:
  explicit MemoryLimiter(std::unique_ptr<MemoryCgroupParent> parent) : parent_(std::move(parent)) {}

  /// The cgroup of one process, from the order to make it. Dropping it removes the cgroup: the
  /// process has ended by then.
  class Limit {
   public:
    Limit(MemoryLimiter& limiter, pid_t pid, int pidfd, std::uint64_t bytes);
    ~Limit();
    Limit(const Limit&) = delete;
    Limit& operator=(const Limit&) = delete;

    /// True when the kernel has killed a process because this limit was reached.
    [[nodiscard]] bool was_exceeded() const;

   private:
    /// Shared with the jobs of the background thread.
    struct Slot {
      std::mutex mutex;
      std::optional<MemoryCgroup> cgroup;
    };
    MemoryLimiter& limiter_;
    std::shared_ptr<Slot> slot_;
  };

  std::unique_ptr<Limit> limit(pid_t pid, int pidfd, std::uint64_t bytes) {
    return std::make_unique<Limit>(*this, pid, pidfd, bytes);
  }

 private:
  std::unique_ptr<MemoryCgroupParent> parent_;
  BackgroundThread thread_;
};

}  // namespace sublet::manager
