#pragma once

#include <sublet/result.hpp>

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace sublet::manager {

/// Where memory cgroups can be made: below the cgroup of this process, when that is delegated to
/// it. Version 1 and version 2 hierarchies. Owner: the executor manager; outlives its cgroups.
class MemoryCgroupParent {
 public:
  /// Nothing, with the reason in `why`, when no memory cgroup can be made here. Removes what dead
  /// managers have left behind.
  static std::unique_ptr<MemoryCgroupParent> find(std::string& why);
  /// At a given directory, for tests.
  MemoryCgroupParent(std::string directory, int version);

  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
  [[nodiscard]] int version() const noexcept { return version_; }
  void remove_stale() const;

 private:
  std::string directory_;
  int version_;
};

/// A memory cgroup for one executor. Removed on destruction: its processes must have ended by then.
/// All of this may block for milliseconds.
class MemoryCgroup {
 public:
  static Result<MemoryCgroup> create(const MemoryCgroupParent& parent, std::uint64_t limit_bytes);
  MemoryCgroup(MemoryCgroup&& other) noexcept;
  MemoryCgroup& operator=(MemoryCgroup&&) = delete;
  MemoryCgroup(const MemoryCgroup&) = delete;
  ~MemoryCgroup();

  [[nodiscard]] Result<void> add(pid_t pid) const;
  /// Processes that the kernel has killed here because the limit was reached.
  [[nodiscard]] std::uint64_t oom_kills() const;

 private:
  MemoryCgroup(std::string directory, int version)
      : directory_(std::move(directory)), version_(version) {}
  std::string directory_;
  int version_;
};

}  // namespace sublet::manager
