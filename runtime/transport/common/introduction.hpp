#pragma once

#include <base/fd.hpp>
#include <transport/common/greeting.hpp>
#include <transport/common/tcp_socket.hpp>

#include <cstddef>
#include <span>

namespace sublet::transport {

/// The client's side of set-up over TCP: connects to `options.address`, prepares the connection,
/// says `hello`, which starts with a Greeting, and hears `welcome`, which starts with an Answer;
/// before `end`. An executor at which too many silent connections wait is asked again. The errors
/// are those of connect_to and error_in; kDisconnected when there is no answer.
Result<base::Fd> introduce(const ConnectOptions& options, std::span<const std::byte> hello,
                           std::span<std::byte> welcome, TimePoint end);

}  // namespace sublet::transport
