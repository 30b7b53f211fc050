#pragma once

#include <cstdint>
#include <optional>

namespace sublet::manager::web {

/// The user whose process has the other end of the connected TCP socket `fd`, as the kernel knows
/// it: where that end is on this node, in this network namespace and connected. Nothing where it is
/// not, or the kernel does not say.
///
/// Ask when the connection has just been accepted: its port may be another's once it has closed.
std::optional<std::uint32_t> socket_owner(int fd);

}  // namespace sublet::manager::web
