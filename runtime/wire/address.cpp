#include <base/host_port.hpp>
#include <wire/address.hpp>

#include <sys/un.h>

#include <utility>

namespace sublet::wire {
namespace {

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
  auto place = base::HostPort::parse(rest);
  if (!place) return invalid(text, place.error().what());
  Address address;
  address.kind = Address::Kind::kTcp;
  address.host = std::move(place->host);
  address.port = place->port;
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
  return base::HostPort{host, port}.to_string();
}

}  // namespace sublet::wire
