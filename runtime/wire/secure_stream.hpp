#pragma once

#include <wire/signed_grant.hpp>

#include <kj/async-io.h>
#include <sodium.h>

#include <array>
#include <cstddef>

namespace sublet::wire {

/// A stream whose bytes are encrypted and authenticated, with keys that both ends have agreed on.
///
/// PROTOCOL  Each direction: the header of libsodium's crypto_secretstream_xchacha20poly1305, then
///           records: length of the cipher text (4 bytes, little-endian), cipher text. A record
///           that was changed, left out, repeated or moved ends the stream: an exception of type
///           FAILED.
/// LIMITS    kMostPlain bytes in a record. Buffers live only while a record is read or written.
/// Owner: the connection, on its loop. One read and one write at a time, as KJ wants it.
class SecureStream final : public kj::AsyncIoStream {
 public:
  static constexpr std::size_t kMostPlain = 64u << 10;
  using StreamKey = std::array<unsigned char, crypto_secretstream_xchacha20poly1305_KEYBYTES>;

  /// `binding` names this connection to both ends.
  SecureStream(kj::Own<kj::AsyncIoStream> stream, const StreamKey& send, const StreamKey& receive,
               const ChannelBinding& binding);
  ~SecureStream() noexcept(false);
  KJ_DISALLOW_COPY(SecureStream);

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override;
  kj::Promise<void> write(const void* buffer, size_t size) override;
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override;
  kj::Promise<void> whenWriteDisconnected() override { return stream_->whenWriteDisconnected(); }
  void shutdownWrite() override { stream_->shutdownWrite(); }
  void abortRead() override { stream_->abortRead(); }
  /// For options of the socket and to see its end; what is read from it directly is cipher text.
  kj::Maybe<int> getFd() const override { return stream_->getFd(); }

  [[nodiscard]] const ChannelBinding& binding() const noexcept { return binding_; }

  /// The next record alone; empty at the end. For the handshake, before anything else is read.
  kj::Promise<kj::Array<kj::byte>> read_record(std::size_t most);

 private:
  static constexpr std::size_t kOverhead = crypto_secretstream_xchacha20poly1305_ABYTES;
  static constexpr std::size_t kHeader = crypto_secretstream_xchacha20poly1305_HEADERBYTES;
  static constexpr std::size_t kLength = 4;

  using Pieces = kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>>;
  /// Where in what is to be written the next record begins.
  struct At {
    std::size_t piece = 0;
    std::size_t offset = 0;
  };

  kj::Promise<size_t> read_on(kj::byte* to, size_t least, size_t most, size_t done);
  kj::Promise<bool> read_length();
  kj::Promise<void> write_on(Pieces pieces, At at);
  std::size_t put_record(kj::byte* to, kj::ArrayPtr<const kj::byte> plain);

  kj::Own<kj::AsyncIoStream> stream_;
  ChannelBinding binding_;
  crypto_secretstream_xchacha20poly1305_state out_{};
  crypto_secretstream_xchacha20poly1305_state in_{};
  StreamKey receive_key_;
  std::array<unsigned char, kHeader> out_header_{};
  std::array<unsigned char, kHeader + kLength> in_start_{};  ///< Header and length as they come.
  bool header_sent_ = false;
  bool header_read_ = false;
  kj::Array<kj::byte> plain_;  ///< Of the record being taken.
  std::size_t taken_ = 0;
};

/// Of a connection that wire::connect or a listener has opened; zeros for a Unix socket.
[[nodiscard]] ChannelBinding channel_binding(const kj::AsyncIoStream& stream);

}  // namespace sublet::wire
