#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <string>
#include <utility>

namespace sublet::cli {

/// A fresh directory for the sockets of one private manager, below this user's runtime directory;
/// removed with this object. Making one removes those of private managers that were killed.
class PrivateDirectory {
 public:
  static Result<PrivateDirectory> make();

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

 private:
  std::string path_;
  base::Fd lock_;  ///< A file in it, locked for as long as this process lives.
};

}  // namespace sublet::cli
