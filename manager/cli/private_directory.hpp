#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <string>
#include <utility>

namespace sublet::cli {

/// The directory of a job's private manager on this node, below this user's runtime directory, and
/// with it the right to be that manager; removed with this object. Making one removes those of
/// private managers that were killed.
class PrivateDirectory {
 public:
  /// kOverloaded while another process has the directory of `job`. An empty job is nobody else's.
  static Result<PrivateDirectory> make(const std::string& job);

  /// Where the manager that has the directory of `job` listens; empty when none has announced it.
  static std::string announced(const std::string& job);

  PrivateDirectory() = default;
  PrivateDirectory(PrivateDirectory&& other) noexcept
      : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  PrivateDirectory& operator=(PrivateDirectory&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(lock_, other.lock_);
    return *this;
  }
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;
  ~PrivateDirectory();

  [[nodiscard]] const std::string& path() const { return path_; }

  /// Tells the processes of the job where the manager listens, once it is ready for them.
  Result<void> announce(const std::string& address);
  /// It is about to end: who comes now waits for the directory instead.
  void withdraw() noexcept;

 private:
  std::string path_;
  base::Fd lock_;  ///< A file in it, locked for as long as this process lives: the address.
};

}  // namespace sublet::cli
