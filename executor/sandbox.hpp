#pragma once

// What an executor may do, and what is done so that it dies with its zygote.

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <sys/types.h>

#include <cstdint>

namespace sublet::executor {

inline constexpr std::uint32_t kKeepId = ~std::uint32_t{0};

/// In the zygote, inherited by executors: no new privileges by exec, no core files unless an
/// executor chooses to leave them (core_file.hpp), a session of its own (a terminal's Ctrl-C is for
/// the manager to handle).
Result<void> confine_zygote();

/// In a fresh child: SIGKILL it when its parent, the zygote `parent`, dies. False when that has
/// happened already. To be repeated when the user id has changed: the kernel forgets it then.
[[nodiscard]] bool die_with_parent(pid_t parent) noexcept;

/// Lets this process lock `bytes` of memory, as RDMA does with its buffers; before its identity
/// changes. Best effort: who may not raise the limit meets it when registering, with an error.
void allow_locked_memory(std::uint64_t bytes) noexcept;

/// Becomes this user and group, for good. kKeepId leaves an id as it is; wire::kGroupOfAccount is
/// the group of the user's account. kDenied: there is none, or this process has not the right.
Result<void> change_identity(std::uint32_t uid, std::uint32_t gid);

/// Whether other processes of this user may look into this one and trace it, and it may leave a
/// core file. Forgotten by exec and by a change of identity.
void hide_from_others(bool hidden) noexcept;

/// How far the private writable memory of this process may grow from what it was when this was
/// made. In force from enforce() on: what takes this process's place meanwhile has its own.
class MemoryLimit {
 public:
  /// None.
  MemoryLimit() = default;
  /// 0 bytes: none.
  static Result<MemoryLimit> above_now(std::uint64_t bytes);
  /// Idempotent.
  Result<void> enforce();

 private:
  std::uint64_t most_bytes_ = 0;  ///< 0: none, or in force already.
};

/// Asks the kernel to take an executor before the job it shares the node with. Best effort. Made
/// while this process may still open its own file for that: one that is hidden may not.
class OutOfMemoryChoice {
 public:
  OutOfMemoryChoice() noexcept;
  void prefer() noexcept;

 private:
  base::Fd file_;
};

}  // namespace sublet::executor
