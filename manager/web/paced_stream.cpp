#include <base/tcp_options.hpp>
#include <common/async.hpp>
#include <common/host_addresses.hpp>

#include <web/limits.hpp>
#include <web/paced_stream.hpp>
#include <web/socket_owner.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager::web {

PacedStream::PacedStream(kj::Own<kj::AsyncIoStream> inner, kj::Timer& timer)
    : inner_(kj::mv(inner)), timer_(timer) {
  int fd = -1;
  KJ_IF_MAYBE (known, inner_->getFd()) fd = *known;
  caller_ = find_caller(fd);
  is_unix_ = caller_.proof == Proof::kPeerCredentials;
  if (is_unix_) return;
  base::set_tcp_options(fd, kPieceLimit);
  if (!is_loopback(caller_.host)) return;
  if (const auto uid = socket_owner(fd)) {
    caller_ = {
        .uid = *uid, .gid = kUnknownGid, .pid = 0, .host = {}, .proof = Proof::kPeerCredentials};
  }
}

kj::Promise<std::size_t> PacedStream::read(void* buffer, std::size_t least, std::size_t most) {
  return inner_->read(buffer, least, most);
}

kj::Promise<std::size_t> PacedStream::tryRead(void* buffer, std::size_t least, std::size_t most) {
  return inner_->tryRead(buffer, least, most);
}

kj::Promise<void> PacedStream::write(const void* buffer, std::size_t size) {
  return write_from(static_cast<const kj::byte*>(buffer), size);
}

kj::Promise<void> PacedStream::write_from(const kj::byte* from, std::size_t size) {
  const std::size_t piece = std::min(size, kWritePiece);
  auto late = timer_.afterDelay(to_kj(kPieceLimit)).then([]() -> kj::Promise<void> {
    return KJ_EXCEPTION(DISCONNECTED, "what was written was not taken in time");
  });
  return inner_->write(from, piece)
      .exclusiveJoin(kj::mv(late))
      .then([this, from, piece, size]() -> kj::Promise<void> {
        if (piece == size) return kj::READY_NOW;
        return write_from(from + piece, size - piece);
      });
}

kj::Promise<void> PacedStream::write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
  return write_pieces(pieces, 0);
}

kj::Promise<void> PacedStream::write_pieces(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces,
                                            std::size_t next) {
  if (next == pieces.size()) return kj::READY_NOW;
  return write_from(pieces[next].begin(), pieces[next].size()).then([this, pieces, next] {
    return write_pieces(pieces, next + 1);
  });
}

}  // namespace sublet::manager::web
