#include <transport/common/link_watch.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace sublet::transport {

bool LinkWatch::cut_off(int socket, std::chrono::steady_clock::time_point now) noexcept {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  const std::chrono::milliseconds silent(info.tcpi_last_ack_recv);
  // Data was repeated and nobody has acknowledged anything since. An idle connection is asked every
  // second, so the silence did not begin long before.
  const bool repeating = info.tcpi_unacked > 0 && info.tcpi_retransmits > 0;
  // The peer had no room, and does not answer whether it has some now. While it lives the questions
  // may be a minute apart, so the silence counts from when one was first seen unanswered.
  const bool probing = info.tcpi_probes > 0;
  if (!probing) {
    probing_since_ = {};
  } else if (probing_since_ == std::chrono::steady_clock::time_point{}) {
    probing_since_ = now;
  }
  return silent >= timeout_ && (repeating || (probing && now - probing_since_ >= timeout_));
}

}  // namespace sublet::transport
