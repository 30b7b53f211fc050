#include <transport/common/host_port.hpp>

#include <algorithm>
#include <charconv>
#include <system_error>

namespace sublet::transport {

Result<HostPort> HostPort::parse(const std::string& text) {
  const std::size_t colon = std::min(text.rfind(':'), text.size());
  HostPort parsed;
  parsed.host = text.substr(0, colon);
  const bool bracketed =
      parsed.host.size() > 2 && parsed.host.front() == '[' && parsed.host.back() == ']';
  if (bracketed) parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  const bool host_good = !parsed.host.empty() && parsed.host != "*" &&
                         (bracketed || parsed.host.find_first_of(":[]") == std::string::npos);
  const char* const first = text.data() + std::min(colon + 1, text.size());
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(first, last, parsed.port);
  if (!host_good || error != std::errc() || end != last) {
    return fail(ErrorKind::kInvalid, "'" + text +
                                         "' is no address of an executor; it has the form "
                                         "HOST:PORT, or [IPV6]:PORT");
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

}  // namespace sublet::transport
