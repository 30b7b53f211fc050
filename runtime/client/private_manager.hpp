#pragma once

#include <base/fd.hpp>
#include <sublet/session.hpp>

#include <sys/types.h>

#include <memory>
#include <string>

namespace sublet::client {

/// A resource manager and an executor manager of our own, in one child process that ends when this
/// object goes or this process dies. Owner: the session.
class PrivateManager {
 public:
  /// Starts it and waits until it listens.
  static Result<std::unique_ptr<PrivateManager>> start(const SessionOptions& options);
  PrivateManager(pid_t pid, base::Fd lifeline, std::string address);
  ~PrivateManager();
  PrivateManager(const PrivateManager&) = delete;
  PrivateManager& operator=(const PrivateManager&) = delete;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  pid_t pid_;
  base::Fd lifeline_;  ///< The child ends when this end of the pipe closes, whoever closes it.
  std::string address_;
};

}  // namespace sublet::client
