#include <base/log.hpp>
#include <base/private_path.hpp>
#include <base/system_text.hpp>
#include <base/unix_socket.hpp>
#include <common/host_addresses.hpp>
#include <common/listening_socket.hpp>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace sublet::manager {
namespace {

using base::Fd;

/// Longer than a manager needs the lock of its directory.
constexpr auto kLockLimit = std::chrono::seconds(1);
constexpr auto kLockAgain = std::chrono::milliseconds(5);

constexpr int kBacklog = 4096;  // the system may cut it; see net.core.somaxconn

tl::unexpected<Error> system_error(const std::string& attempted, int error = errno) {
  return fail(ErrorKind::kInternal, attempted + ": " + base::system_text(error), error);
}

struct UnixName {
  sockaddr_un address{};
  socklen_t length = 0;

  explicit UnixName(const wire::Address& from) {
    address.sun_family = AF_UNIX;
    // Address::parse has checked the length. An abstract name has a zero byte for its '@'.
    std::memcpy(address.sun_path, from.path.data(), from.path.size());
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + from.path.size());
    if (from.is_abstract()) {
      address.sun_path[0] = '\0';
    } else {
      ++length;
    }
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// The process that listens at `name`; nothing when nobody does.
Result<pid_t> listener_at(const UnixName& name) {
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return system_error("making a socket");
  const bool connected = ::connect(probe.get(), name.get(), name.length) == 0;
  // A full backlog is a living listener too.
  if (!connected && errno != EAGAIN) {
    return fail(ErrorKind::kDisconnected, "nobody listens there", errno);
  }
  const auto peer = base::peer_credentials(probe.get());
  return connected && peer ? peer->pid : 0;
}

/// One process at a time looks at the sockets of a directory and replaces dead ones. Whoever may
/// read the directory may lock it too, and keep the lock: then it is done without. All that is lost
/// is the order among managers that start at the same moment in place of a dead one.
Result<Fd> lock_directory(const std::string& path) {
  Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return system_error("opening directory " + path);
  const auto deadline = std::chrono::steady_clock::now() + kLockLimit;
  while (::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      base::log().warn("{}; going on without the lock of directory {}",
                       base::call_text("flock", errno), path);
      break;
    }
    if (std::chrono::steady_clock::now() > deadline) {
      base::log().warn("another process keeps directory {} locked; going on without the lock",
                       path);
      break;
    }
    std::this_thread::sleep_for(kLockAgain);
  }
  return directory;
}

/// Invalid, with errno, when the address cannot be had.
Fd bound_socket(const addrinfo& at) {
  Fd fd(::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fd;
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (at.ai_family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (::bind(fd.get(), at.ai_addr, at.ai_addrlen) == 0 && ::listen(fd.get(), kBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  fd.reset();
  errno = error;
  return fd;
}

/// The port. Many systems give their own name an address that is theirs alone (127.0.1.1).
std::uint16_t warn_if_only_here(int fd, const wire::Address& named) {
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  const std::string host = numeric_host(reinterpret_cast<const sockaddr*>(&bound), length);
  if (is_loopback(host) && named.host != host && named.host != "localhost") {
    base::log().warn(
        "{} is {} on this node, which no other node reaches: listen at tcp:*:{} or at an address",
        named.to_string(), host, named.port);
  }
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<const sockaddr_in&>(bound).sin_port);
}

}  // namespace

Result<void> make_private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  if (errno != EEXIST) return system_error("making directory " + path);
  return base::check_private_directory(path);
}

ListeningSocket::~ListeningSocket() {
  if (file_inode_ == 0) return;
  struct stat info {};
  if (::lstat(address_.path.c_str(), &info) == 0 && info.st_ino == file_inode_ &&
      info.st_dev == file_device_) {
    ::unlink(address_.path.c_str());
  }
}

bool ListeningSocket::file_was_removed() const noexcept {
  struct stat info {};
  return file_inode_ != 0 && ::lstat(address_.path.c_str(), &info) != 0 && errno == ENOENT;
}

void ListeningSocket::swap(ListeningSocket& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(address_, other.address_);
  std::swap(file_device_, other.file_device_);
  std::swap(file_inode_, other.file_inode_);
}

Result<ListeningSocket> ListeningSocket::open(const wire::Address& address,
                                              const std::string& what) {
  return address.kind == wire::Address::Kind::kUnix ? open_unix(address, what) : open_tcp(address);
}

Result<ListeningSocket> ListeningSocket::open_unix(const wire::Address& address,
                                                   const std::string& what) {
  Fd lock;
  if (!address.is_abstract()) {
    const std::string directory = directory_of(address.path);
    struct stat info {};
    if (::stat(directory.c_str(), &info) != 0) {
      if (auto made = make_private_directory(directory); !made) {
        return tl::unexpected<Error>(std::move(made.error()));
      }
    }
    auto locked = lock_directory(directory);
    if (!locked) return tl::unexpected<Error>(std::move(locked.error()));
    lock = std::move(*locked);
  }
  ListeningSocket socket;
  socket.address_ = address;
  socket.fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.fd_.valid()) return system_error("making a socket");
  const UnixName name(address);
  int bound = ::bind(socket.fd(), name.get(), name.length);
  if (bound != 0 && errno == EADDRINUSE) {
    if (const auto listener = listener_at(name)) {
      const std::string pid = *listener > 0 ? " (pid " + std::to_string(*listener) + ")" : "";
      return fail(ErrorKind::kInvalid,
                  "a " + what + pid + " already listens at " + address.to_string());
    }
    // Left by a manager that was killed. Only sockets are replaced.
    struct stat info {};
    if (!address.is_abstract() && ::lstat(address.path.c_str(), &info) == 0 &&
        S_ISSOCK(info.st_mode) && ::unlink(address.path.c_str()) == 0) {
      bound = ::bind(socket.fd(), name.get(), name.length);
    } else {
      errno = EADDRINUSE;
    }
  }
  if (bound != 0 || ::listen(socket.fd(), kBacklog) != 0) {
    return system_error("listening at " + address.to_string());
  }
  struct stat info {};
  if (!address.is_abstract() && ::lstat(address.path.c_str(), &info) == 0) {
    socket.file_device_ = info.st_dev;
    socket.file_inode_ = info.st_ino;
  }
  return socket;
}

Result<ListeningSocket> ListeningSocket::open_tcp(const wire::Address& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  const char* host = address.host == "*" ? nullptr : address.host.c_str();
  const int error = ::getaddrinfo(host, port.c_str(), &hints, &found);
  if (error != 0) {
    return fail(ErrorKind::kInvalid, "listening at " + address.to_string() + ": host '" +
                                         address.host + "' is unknown (" + ::gai_strerror(error) +
                                         ")");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
  std::vector<const addrinfo*> entries;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    entries.push_back(entry);
  }
  // "*" is one socket for IPv6 and IPv4, and one for IPv4 where there is no IPv6.
  if (host == nullptr) {
    std::stable_partition(entries.begin(), entries.end(),
                          [](const addrinfo* entry) { return entry->ai_family == AF_INET6; });
  }
  int last = EADDRNOTAVAIL;
  for (const addrinfo* entry : entries) {
    ListeningSocket socket;
    socket.fd_ = bound_socket(*entry);
    if (!socket.fd_.valid()) {
      last = errno;
      continue;
    }
    socket.address_ = address;
    socket.address_.port = warn_if_only_here(socket.fd(), address);
    return socket;
  }
  return system_error("listening at " + address.to_string(), last);
}

}  // namespace sublet::manager
