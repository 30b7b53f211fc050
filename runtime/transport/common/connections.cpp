#include <transport/common/connections.hpp>
#include <transport/tuning.hpp>

#include <algorithm>
#include <utility>

namespace sublet::transport {

void Connections::append_poll_fds(std::vector<pollfd>& fds) const {
  for (const Connection& connection : connections_) {
    fds.push_back({connection.socket, POLLRDHUP, 0});
  }
}

TimePoint Connections::next_deadline() const {
  return connections_.empty() || !peer_timeout_ ? TimePoint::max() : check_links_at_;
}

void Connections::service(const Ended& ended) {
  if (connections_.empty()) return;
  polled_.clear();
  append_poll_fds(polled_);
  const TimePoint now = std::chrono::steady_clock::now();
  const bool check_links = peer_timeout_ && now >= check_links_at_;
  if (check_links) check_links_at_ = now + tuning::kLinkCheck;
  if (::poll(polled_.data(), polled_.size(), 0) <= 0 && !check_links) return;
  std::vector<std::uint32_t> workers;
  std::size_t i = 0;
  std::erase_if(connections_, [&](Connection& connection) {
    const bool hung_up = polled_[i++].revents != 0;
    if (!hung_up && !(check_links && connection.watch->cut_off(connection.socket, now))) {
      return false;
    }
    workers.push_back(connection.worker);
    return true;
  });
  // This side's share of them is gone by now: who hears of an end may count descriptors.
  for (const std::uint32_t worker : workers) ended(worker);
}

void Connections::add(std::uint32_t worker, int socket, std::shared_ptr<const void> owner,
                      const Ended& ended) {
  const auto old = std::find_if(connections_.begin(), connections_.end(),
                                [&](const Connection& c) { return c.worker == worker; });
  if (old != connections_.end()) {
    connections_.erase(old);
    ended(worker);
  }
  if (connections_.empty()) {
    check_links_at_ = std::chrono::steady_clock::now() + tuning::kLinkCheck;
  }
  std::optional<LinkWatch> watch;
  if (peer_timeout_) watch.emplace(*peer_timeout_);
  connections_.push_back({worker, socket, std::move(owner), watch});
}

}  // namespace sublet::transport
