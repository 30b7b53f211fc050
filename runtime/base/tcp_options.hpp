#pragma once

#include <chrono>

namespace sublet::base {

/// Small messages go out at once, and the connection ends when its peer has not answered at all for
/// about `silence` (at least 2 s): its link was cut, or its machine vanished without a word. A
/// process that ends is noticed at once in any case. Does nothing to a socket that is not TCP.
void set_tcp_options(int fd, std::chrono::milliseconds silence) noexcept;

}  // namespace sublet::base
