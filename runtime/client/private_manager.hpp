#pragma once

#include <base/fd.hpp>
#include <base/fork_guard.hpp>
#include <sublet/session.hpp>

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

namespace sublet::client {

/// A resource manager and an executor manager of our own, in one process that ends when this object
/// goes or this process dies. It is no child of this process: an application that waits for all of
/// its children does not wait for it. Owner: the session.
class PrivateManager {
 public:
  /// Starts it and waits until it listens.
  static Result<std::unique_ptr<PrivateManager>> start(const SessionOptions& options);
  PrivateManager(base::Fd lifeline, base::Fd alive);
  ~PrivateManager();
  PrivateManager(const PrivateManager&) = delete;
  PrivateManager& operator=(const PrivateManager&) = delete;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  base::Fd lifeline_;  ///< It ends when this end of the pipe closes, whoever closes it.
  std::optional<base::ForkGuard> lifeline_guard_;
  base::Fd alive_;  ///< Reaches its end when the manager has ended.
  std::string address_;
};

}  // namespace sublet::client
