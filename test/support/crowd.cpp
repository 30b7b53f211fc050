#include "crowd.hpp"

#include <common/rpc_connection.hpp>
#include <wire/control.capnp.h>
#include <wire/signed_grant.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

constexpr int kCalls = 200;

/// What `speak(bootstrap)` writes; it returns what must live until then.
template <class Speak>
std::vector<std::byte> record(Speak speak) {
  auto io = kj::setupAsyncIo();
  auto pipe = io.provider->newTwoWayPipe();
  manager::RpcConnection connection(kj::mv(pipe.ends[0]));
  const auto calls = speak(connection.bootstrap());
  std::vector<std::byte> bytes;
  std::array<kj::byte, 4096> buffer{};
  for (;;) {
    auto reading = pipe.ends[1]->tryRead(buffer.data(), 1, buffer.size());
    if (!reading.poll(io.waitScope)) return bytes;
    const std::size_t n = reading.wait(io.waitScope);
    const auto* const first = reinterpret_cast<const std::byte*>(buffer.data());
    bytes.insert(bytes.end(), first, first + n);
  }
}

}  // namespace

std::vector<std::byte> record_calls_to_resource_manager() {
  return record([](capnp::Capability::Client bootstrap) {
    auto manager = bootstrap.castAs<wire::ResourceManager>();
    kj::Vector<kj::Promise<void>> calls;
    for (int i = 0; i < kCalls; ++i) {
      calls.add(manager.leasesRequest().send().ignoreResult());
      calls.add(manager.nodesRequest().send().ignoreResult());
      calls.add(manager.versionRequest().send().ignoreResult());
    }
    return calls;
  });
}

std::vector<std::byte> record_calls_to_executor_manager() {
  return record([](capnp::Capability::Client bootstrap) {
    auto manager = bootstrap.castAs<wire::ExecutorManager>();
    kj::Vector<kj::Promise<void>> calls;
    for (int i = 0; i < kCalls; ++i) {
      auto claim = manager.claimRequest();
      claim.initGrant(wire::kSealedGrantBytes);
      calls.add(claim.send().ignoreResult());
      calls.add(manager.versionRequest().send().ignoreResult());
    }
    return calls;
  });
}

Crowd::Crowd(const wire::Address& address, const Size& size, std::vector<std::byte> recording)
    : address_(address), recording_(std::move(recording)) {
  members_.assign(size.idle, {Kind::kIdle});
  constexpr std::array kHostile = {Kind::kRandom,     Kind::kFlipped, Kind::kSlow,
                                   Kind::kUnfinished, Kind::kDeaf,    Kind::kBusy};
  for (std::size_t i = 0; i < size.hostile; ++i) {
    members_.push_back({kHostile[i % kHostile.size()]});
  }
  thread_ = std::thread([this] { run(); });
}

Crowd::~Crowd() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ending_changed_.notify_one();
  thread_.join();
  for (Member& member : members_) leave(member);
}

void Crowd::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    lock.unlock();
    for (Member& member : members_) step(member);
    lock.lock();
    ending_changed_.wait_for(lock, 10ms, [this] { return ending_; });
  }
}

void Crowd::step(Member& member) {
  if (member.fd < 0) {
    if ((member.was_in && member.kind == Kind::kIdle) || !come_in(member)) return;
    // Every other one that says nothing more has at least greeted.
    if (member.kind == Kind::kIdle && made_ % 2 == 0) {
      (void)send(member, std::span(recording_).first(std::min<std::size_t>(64, recording_.size())));
    }
    return;
  }
  speak(member);
  if (member.fd >= 0 && !listen(member)) {
    ++thrown_out_;
    leave(member);
  }
}

bool Crowd::come_in(Member& member) {
  const bool is_unix = address_.kind == wire::Address::Kind::kUnix;
  sockaddr_storage name{};
  socklen_t length = 0;
  if (is_unix) {
    auto& path = reinterpret_cast<sockaddr_un&>(name);
    path.sun_family = AF_UNIX;
    std::memcpy(path.sun_path, address_.path.data(), address_.path.size());
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.path.size());
    if (address_.is_abstract()) {
      path.sun_path[0] = '\0';
    } else {
      ++length;
    }
  } else {
    auto& host = reinterpret_cast<sockaddr_in&>(name);
    host.sin_family = AF_INET;
    host.sin_port = htons(address_.port);
    ::inet_pton(AF_INET, "127.0.0.1", &host.sin_addr);
    length = sizeof(host);
  }
  const int fd = ::socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&name), length) != 0 &&
      errno != EINPROGRESS) {
    ::close(fd);
    return false;
  }
  member.fd = fd;
  member.at = 0;
  member.was_in = true;
  ++made_;
  return true;
}

void Crowd::leave(Member& member) {
  if (member.fd >= 0) ::close(member.fd);
  member.fd = -1;
}

void Crowd::speak(Member& member) {
  const std::span all(recording_);
  std::array<std::byte, 512> bytes{};
  switch (member.kind) {
    case Kind::kIdle:
      break;
    case Kind::kRandom:
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_());
      (void)send(member, bytes);
      break;
    case Kind::kFlipped: {
      const auto piece = all.subspan(member.at, std::min(bytes.size(), all.size() - member.at));
      std::copy(piece.begin(), piece.end(), bytes.begin());
      if (!piece.empty()) bytes[random_() % piece.size()] ^= std::byte{1} << random_() % 8;
      if (send(member, std::span(bytes).first(piece.size()))) member.at += piece.size();
      break;
    }
    case Kind::kSlow:
      if (send(member, all.subspan(member.at, std::min<std::size_t>(1, all.size() - member.at)))) {
        ++member.at;
      }
      break;
    case Kind::kUnfinished: {
      // One segment of 3 MiB, of which little comes; every other one promises the impossible.
      const std::uint32_t start[] = {0, member.fd % 2 == 0 ? 3u << 17 : 1u << 28};
      if (member.at == 0 && send(member, std::as_bytes(std::span(start)))) ++member.at;
      if (member.at != 0 && member.at < 100 && send(member, bytes)) ++member.at;
      break;
    }
    case Kind::kDeaf:
    case Kind::kBusy: {
      const auto piece =
          all.subspan(member.at, std::min<std::size_t>(4096, all.size() - member.at));
      if (send(member, piece)) member.at += piece.size();
      if (member.kind == Kind::kBusy && member.at == all.size()) leave(member);
      break;
    }
  }
}

/// False when nothing went out: later, perhaps.
bool Crowd::send(Member& member, std::span<const std::byte> bytes) {
  if (bytes.empty()) return false;
  const ssize_t n = ::send(member.fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n == static_cast<ssize_t>(bytes.size())) return true;
  if (n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOTCONN)) {
    if (n < 0) ++thrown_out_;
    leave(member);  // what was sent by halves has no use
  }
  return false;
}

/// False when the manager has closed.
bool Crowd::listen(const Member& member) const {
  std::array<std::byte, 16384> bytes;
  const int peek = member.kind == Kind::kDeaf || member.kind == Kind::kSlow ? MSG_PEEK : 0;
  const ssize_t n = ::recv(member.fd, bytes.data(), bytes.size(), MSG_DONTWAIT | peek);
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN));
}

}  // namespace sublet::test
