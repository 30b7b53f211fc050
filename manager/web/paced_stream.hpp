#pragma once

#include <common/auth/caller.hpp>
#include <common/connection_table.hpp>

#include <kj/async-io.h>
#include <kj/timer.h>

#include <memory>

namespace sublet::manager::web {

/// A connection whose other end has to take what is written to it: kWritePiece bytes at a time,
/// each within kPieceLimit. Then it is broken off, with an exception of type DISCONNECTED.
///
/// Also what is known of who is there. Owner: the connection's promise. The event loop's thread.
class PacedStream final : public kj::AsyncIoStream {
 public:
  PacedStream(kj::Own<kj::AsyncIoStream> inner, kj::Timer& timer);

  /// Who is at the other end: asked when it was accepted.
  [[nodiscard]] const Caller& caller() const { return caller_; }
  [[nodiscard]] bool is_unix() const { return is_unix_; }
  void set_place(std::unique_ptr<ConnectionTable::Place> place) { place_ = std::move(place); }
  [[nodiscard]] ConnectionTable::Place& place() { return *place_; }

  kj::Promise<std::size_t> read(void* buffer, std::size_t least, std::size_t most) override;
  kj::Promise<std::size_t> tryRead(void* buffer, std::size_t least, std::size_t most) override;
  kj::Promise<void> write(const void* buffer, std::size_t size) override;
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override;
  kj::Promise<void> whenWriteDisconnected() override { return inner_->whenWriteDisconnected(); }
  void shutdownWrite() override { inner_->shutdownWrite(); }
  void abortRead() override { inner_->abortRead(); }
  kj::Maybe<int> getFd() const override { return inner_->getFd(); }

 private:
  kj::Promise<void> write_from(const kj::byte* from, std::size_t size);
  kj::Promise<void> write_pieces(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces,
                                 std::size_t next);

  kj::Own<kj::AsyncIoStream> inner_;
  kj::Timer& timer_;
  Caller caller_;
  bool is_unix_ = false;
  std::unique_ptr<ConnectionTable::Place> place_;
};

}  // namespace sublet::manager::web
