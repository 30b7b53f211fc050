#pragma once

// What an executor may do, and what is done so that it dies with its zygote.

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

/// Becomes this user and group, for good. kKeepId leaves an id as it is.
Result<void> change_identity(std::uint32_t uid, std::uint32_t gid);

/// Lets the private writable memory of this process grow by `bytes` from what it is now.
Result<void> limit_memory(std::uint64_t bytes);

/// Asks the kernel to take an executor before the job it shares the node with. Best effort.
void prefer_for_out_of_memory_kill() noexcept;

}  // namespace sublet::executor
