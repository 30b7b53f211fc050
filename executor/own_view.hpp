#pragma once

#include <sublet/result.hpp>

#include <cstdint>

namespace sublet::executor {

/// Files and processes as an executor of a cluster's users sees them: a /tmp, /var/tmp and /dev/shm
/// of its own, empty, and in /proc only its user's processes. Needs root's rights (CAP_SYS_ADMIN);
/// before the identity changes, in a process with one thread. For it and all that it starts, for
/// good.
Result<void> take_own_view();

/// What is in each of these directories is memory, which no RLIMIT counts: at most `bytes`, more
/// than 0. After take_own_view(), with the same rights.
Result<void> limit_own_view(std::uint64_t bytes);

/// Whether that can be done here: tried in a child. The error says what is refused.
Result<void> can_take_own_view();

}  // namespace sublet::executor
