#pragma once

#include <sublet/result.hpp>

namespace sublet::executor {

/// Files and processes as an executor of a cluster's users sees them: a /tmp, /var/tmp and /dev/shm
/// of its own, empty, and in /proc only its user's processes. Needs root's rights (CAP_SYS_ADMIN);
/// before the identity changes, in a process with one thread. For it and all that it starts, for
/// good. 200 us.
Result<void> take_own_view();

/// Whether that can be done here: tried in a child. The error says what is refused.
Result<void> can_take_own_view();

}  // namespace sublet::executor
