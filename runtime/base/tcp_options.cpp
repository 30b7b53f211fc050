#include <base/tcp_options.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

namespace sublet::base {

void set_tcp_options(int fd, std::chrono::milliseconds silence) noexcept {
  const auto set = [fd](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof(value));
  };
  // An idle connection is asked once a second after its first silent second; the kernel gives up
  // when TCP_USER_TIMEOUT has passed without an answer, for what was sent as for the asking.
  const auto ms = std::clamp<std::chrono::milliseconds::rep>(silence.count(), 2000, 3'600'000);
  constexpr int kProbeSeconds = 1;
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kProbeSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, static_cast<int>((ms + 999) / 1000));
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(ms));
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
}

}  // namespace sublet::base
