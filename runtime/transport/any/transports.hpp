#pragma once

// THE TABLE OF TRANSPORTS: the one place that names them, a row each. To add a transport: its
// folder with a struct that meets the concept Transport (row.hpp), an include and a row here. The
// order is the one in which clients prefer them; the first one's hot path is compiled into its
// callers.

// clang-format off
#include <transport/shm/shm_transport.hpp>
#include <transport/verbs/verbs_transport.hpp>
#include <transport/fabric/fabric_transport.hpp>
#include <transport/tcp/tcp_transport.hpp>

#include <transport/any/table.hpp>

namespace sublet::transport {

using Transports = TableOf<
    shm::Transport,
    verbs::Transport,
    fabric::Transport,
    tcp::Transport>;

}  // namespace sublet::transport
// clang-format on
