#include <base/tcp_options.hpp>
#include <base/unix_socket.hpp>
#include <common/host_addresses.hpp>
#include <common/peer.hpp>
#include <wire/secure_stream.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>

namespace sublet::manager {
namespace {

/// A peer whose machine vanished without a word is noticed in about this time.
constexpr auto kSilence = std::chrono::seconds(10);

sa_family_t family_of(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return AF_UNSPEC;
  return name.ss_family;
}

}  // namespace

Peer::Peer(kj::Own<kj::AsyncIoStream> stream) : stream_(kj::mv(stream)) {
  KJ_IF_MAYBE (fd, stream_->getFd()) fd_ = *fd;
  binding_ = wire::channel_binding(*stream_);
  caller_ = find_caller(fd_);
  if (family_of(fd_) != AF_UNIX) base::set_tcp_options(fd_, kSilence);
}

void Peer::secured(kj::Own<kj::AsyncIoStream> stream, const wire::PeerProof& proof) {
  stream_ = kj::mv(stream);
  binding_ = wire::channel_binding(*stream_);
  if (proof.kind == wire::ProofKind::kNone) return;
  caller_.uid = proof.uid;
  caller_.gid = proof.gid;
  caller_.proof = proof.kind == wire::ProofKind::kKey ? Proof::kKey : Proof::kMunge;
}

bool Peer::has_closed() const {
  return base::peer_has_closed(fd_);
}

std::string Peer::local_host() const {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &length) != 0) return {};
  return numeric_host(reinterpret_cast<const sockaddr*>(&name), length);
}

std::shared_ptr<void> hold_place(const std::shared_ptr<Peer>& peer) {
  if (peer == nullptr || peer->place() == nullptr) return nullptr;
  peer->place()->hold();
  return {peer.get(), [peer](void*) { peer->place()->let_go(); }};
}

}  // namespace sublet::manager
