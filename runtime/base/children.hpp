#pragma once

#include <sys/types.h>

#include <vector>

namespace sublet::base {

/// The children of this process's first thread, which are also those that it has adopted. None on
/// kernels without CONFIG_PROC_CHILDREN.
[[nodiscard]] std::vector<pid_t> children();

}  // namespace sublet::base
