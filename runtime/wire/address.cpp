#include <wire/address.hpp>

#include <sys/un.h>

#include <charconv>

namespace sublet::wire {
namespace {

constexpr std::size_t kMaxHost = 255;
constexpr std::size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

tl::unexpected<Error> invalid(std::string text, const std::string& why) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = '?';
  }
  return fail(ErrorKind::kInvalid, "'" + text + "' is no address of a manager: " + why +
                                       " (expected unix:PATH or tcp:HOST:PORT)");
}

Result<Address> parse_unix(const std::string& text, const std::string& path) {
  if (path.empty() || path == "@") return invalid(text, "the path is empty");
  if (path.size() > kMaxPath) {
    return invalid(text, "the path has " + std::to_string(path.size()) +
                             " bytes where a Unix socket allows " + std::to_string(kMaxPath));
  }
  if (path.find('\0') != std::string::npos) return invalid(text, "the path holds a zero byte");
  Address address;
  address.kind = Address::Kind::kUnix;
  address.path = path;
  return address;
}

Result<Address> parse_tcp(const std::string& text, const std::string& rest) {
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos) return invalid(text, "the port is missing");
  Address address;
  address.kind = Address::Kind::kTcp;
  address.host = rest.substr(0, colon);
  if (address.host.size() >= 2 && address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
  } else if (address.host.find(':') != std::string::npos) {
    return invalid(text, "an IPv6 address needs brackets: tcp:[HOST]:PORT");
  }
  if (address.host.empty()) return invalid(text, "the host is empty");
  if (address.host.size() > kMaxHost ||
      address.host.find_first_of(" \t\n/,[]") != std::string::npos ||
      address.host.find('\0') != std::string::npos) {
    return invalid(text, "the host is not a host name");
  }
  const char* const first = rest.data() + colon + 1;
  const char* const last = rest.data() + rest.size();
  const auto [end, error] = std::from_chars(first, last, address.port);
  if (error != std::errc() || end != last) {
    return invalid(text, "the port is not a number from 0 to 65535");
  }
  return address;
}

}  // namespace

Result<Address> Address::parse(const std::string& text) {
  if (text.starts_with("unix:")) return parse_unix(text, text.substr(5));
  if (text.starts_with("tcp:")) return parse_tcp(text, text.substr(4));
  return invalid(text, "it starts with neither unix: nor tcp:");
}

std::string Address::to_string() const {
  return kind == Kind::kUnix ? "unix:" + path : "tcp:" + to_kj();
}

std::string Address::to_kj() const {
  if (kind == Kind::kUnix) {
    return is_abstract() ? "unix-abstract:" + path.substr(1) : "unix:" + path;
  }
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace sublet::wire
