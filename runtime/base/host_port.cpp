#include <base/host_port.hpp>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

namespace sublet::base {
namespace {

/// The longest name that the domain name system allows.
constexpr std::size_t kMaxHost = 255;

tl::unexpected<Error> wrong(const char* what) {
  return fail(ErrorKind::kInvalid, what);
}

}  // namespace

Result<HostPort> HostPort::parse(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || text.back() == ']') return wrong("the port is missing");
  HostPort parsed;
  parsed.host = text.substr(0, colon);
  if (parsed.host.size() >= 2 && parsed.host.front() == '[' && parsed.host.back() == ']') {
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  } else if (parsed.host.find(':') != std::string::npos) {
    return wrong("an IPv6 address needs brackets: [HOST]:PORT");
  }
  if (parsed.host.empty()) return wrong("the host is empty");
  constexpr std::string_view kNotInHosts(" \t\n/,[]\0", 8);
  if (parsed.host.size() > kMaxHost ||
      parsed.host.find_first_of(kNotInHosts) != std::string::npos) {
    return wrong("the host is not a host name");
  }
  const char* const first = text.data() + colon + 1;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(first, last, parsed.port);
  if (error != std::errc() || end != last) {
    return wrong("the port is not a number from 0 to 65535");
  }
  return parsed;
}

std::string HostPort::to_string() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::vector<std::string> split_list(const std::string& list) {
  std::vector<std::string> items;
  for (std::size_t start = 0; start < list.size();) {
    const std::size_t comma = std::min(list.find(',', start), list.size());
    if (comma > start) items.push_back(list.substr(start, comma - start));
    start = comma + 1;
  }
  return items;
}

}  // namespace sublet::base
