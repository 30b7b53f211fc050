#include <base/fd.hpp>
#include <common/host_addresses.hpp>
#include <wire/address.hpp>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace sublet::manager {
namespace {

/// Of the blocks that are kept for documentation (RFC 5737, RFC 3849): nothing is ever sent there.
constexpr std::array kSomewhere{"192.0.2.1", "2001:db8::1"};
constexpr int kAnyPort = 9;

/// Link-local ones hold on one wire only, and IPv6's need its name beside them.
bool is_link_local(const std::string& host) {
  return host.starts_with("169.254.") || host.starts_with("fe80:") ||
         host.find('%') != std::string::npos;
}

/// Where this node's packets to the world would come from; empty without a default route.
std::string default_source(const char* somewhere) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_in);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET, somewhere, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(kAnyPort);
  } else {
    storage = {};
    ::inet_pton(AF_INET6, somewhere, &v6->sin6_addr);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(kAnyPort);
    size = sizeof(sockaddr_in6);
  }
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  const base::Fd fd(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  socklen_t length = sizeof(storage);
  if (!fd.valid() || ::connect(fd.get(), address, size) != 0 ||
      ::getsockname(fd.get(), address, &length) != 0) {
    return {};
  }
  return numeric_host(address, length);
}

}  // namespace

std::string numeric_host(const sockaddr* address, unsigned size) {
  if (address->sa_family != AF_INET && address->sa_family != AF_INET6) return {};
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return {};
  }
  const std::string host = text.data();
  constexpr std::string_view kMapped = "::ffff:";
  const bool mapped = host.starts_with(kMapped) && host.find('.') != std::string::npos;
  return mapped ? host.substr(kMapped.size()) : host;
}

bool is_every_interface(const std::string& host) {
  return host == "*" || host == "::" || host == "0.0.0.0";
}

bool is_loopback(const std::string& host) {
  return host.starts_with("127.") || host == "::1";
}

Result<std::vector<std::string>> advertised_hosts(const std::vector<std::string>& texts) {
  std::vector<std::string> hosts;
  for (const std::string& text : texts) {
    const bool brackets = text.starts_with('[') && text.ends_with(']');
    wire::Address address;
    address.kind = wire::Address::Kind::kTcp;
    address.host = brackets ? text.substr(1, text.size() - 2) : text;
    address.port = 1;
    in6_addr v6{};
    const bool is_v6 = ::inet_pton(AF_INET6, address.host.c_str(), &v6) == 1;
    const bool has_port = !is_v6 && address.host.find(':') != std::string::npos;
    if (has_port || is_every_interface(address.host) ||
        !wire::Address::parse(address.to_string())) {
      return fail(ErrorKind::kInvalid, "--advertise is '" + text +
                                           "'; it must be a host name or an address of this node, "
                                           "without a port");
    }
    hosts.push_back(address.host);
  }
  return hosts;
}

std::vector<std::string> network_addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  std::vector<std::string> found;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
      constexpr unsigned kUp = IFF_UP | IFF_RUNNING;
      if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != family ||
          (one->ifa_flags & kUp) != kUp || (one->ifa_flags & IFF_LOOPBACK) != 0) {
        continue;
      }
      const std::string host = numeric_host(
          one->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
      if (!host.empty() && !is_loopback(host) && !is_link_local(host)) found.push_back(host);
    }
  }
  for (auto somewhere = kSomewhere.rbegin(); somewhere != kSomewhere.rend(); ++somewhere) {
    const auto first = std::find(found.begin(), found.end(), default_source(*somewhere));
    if (first != found.end()) std::rotate(found.begin(), first, first + 1);
  }
  return found;
}

}  // namespace sublet::manager
