#pragma once

#include <base/fd.hpp>
#include <base/fork_guard.hpp>
#include <sublet/session.hpp>

#include <memory>
#include <optional>
#include <string>

namespace sublet::client {

/// A resource manager and an executor manager of our own, in one process, shared by all sessions of
/// this process and of its job that would start one like it. It ends when this object goes or this
/// process dies, or after that, with the last process of the job that uses it.
///
/// Owner: the sessions of this process, together.
class PrivateManager {
 public:
  /// The one of this job, started when there is none; it is no child of this process, which may
  /// wait for all of its own. Waits until it listens.
  static Result<std::shared_ptr<PrivateManager>> of_this_job(const SessionOptions& options);
  PrivateManager(base::Fd lifeline, base::Fd alive);
  /// Waits for its end, unless others of the job still use it.
  ~PrivateManager();
  PrivateManager(const PrivateManager&) = delete;
  PrivateManager& operator=(const PrivateManager&) = delete;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  static Result<std::shared_ptr<PrivateManager>> start(const SessionOptions& options,
                                                       const std::string& job);
  [[nodiscard]] bool runs() const noexcept;

  base::Fd lifeline_;  ///< It may end when this end of the pipe closes, whoever closes it.
  std::optional<base::ForkGuard> lifeline_guard_;
  base::Fd alive_;  ///< Reaches its end when the manager has ended; readable when that stays.
  std::string address_;
};

}  // namespace sublet::client
