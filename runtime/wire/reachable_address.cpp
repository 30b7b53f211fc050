#include <base/fd.hpp>
#include <wire/address.hpp>
#include <wire/reachable_address.hpp>

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>

namespace sublet::wire {
namespace {

constexpr std::chrono::milliseconds kConnectLimit{1000};

struct Attempt {
  base::Fd socket;
  std::string address;
};

/// Begins to connect to everything that `text` stands for.
void begin(const std::string& text, std::vector<Attempt>& attempts) {
  const auto address = Address::parse(text);
  if (!address || address->kind != Address::Kind::kTcp) return;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const std::string port = std::to_string(address->port);
  if (::getaddrinfo(address->host.c_str(), port.c_str(), &hints, &list) != 0) return;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    base::Fd fd(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) continue;
    if (::connect(fd.get(), one->ai_addr, one->ai_addrlen) == 0 || errno == EINPROGRESS) {
      attempts.push_back({std::move(fd), text});
    }
  }
}

bool connected(int socket) {
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

}  // namespace

std::string reachable_address(const std::vector<std::string>& addresses,
                              std::chrono::milliseconds limit) {
  if (addresses.size() < 2) return addresses.empty() ? std::string() : addresses.front();
  std::vector<Attempt> attempts;
  for (const std::string& address : addresses) begin(address, attempts);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!attempts.empty()) {
    std::vector<pollfd> entries;
    entries.reserve(attempts.size());
    for (const Attempt& attempt : attempts) entries.push_back({attempt.socket.get(), POLLOUT, 0});
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const int ready =
        ::poll(entries.data(), entries.size(), static_cast<int>(std::max<long>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) break;
    for (std::size_t i = entries.size(); i-- > 0;) {
      if (entries[i].revents == 0 || connected(entries[i].fd)) continue;
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
      attempts.erase(attempts.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].revents != 0) return attempts[i].address;
    }
  }
  return addresses.front();
}

ManagerLocation location_of(const ManagerAddressFile& file) {
  std::vector<std::string> networks;  // which other nodes reach too
  std::copy_if(file.addresses.begin(), file.addresses.end(), std::back_inserter(networks),
               [](const std::string& address) { return address.starts_with("tcp:"); });
  ManagerLocation location(networks.empty() ? file.addresses.front()
                                            : reachable_address(networks, kConnectLimit));
  location.instance = file.instance;
  location.file = "'" + file.path + "' (written on " + file.written_by + ")";
  return location;
}

}  // namespace sublet::wire
