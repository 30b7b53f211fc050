#include <wire/secure_stream.hpp>

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace sublet::wire {
namespace {

/// Cipher text made at one time, and then written.
constexpr std::size_t kBatch = 256u << 10;

}  // namespace

SecureStream::SecureStream(kj::Own<kj::AsyncIoStream> stream, const StreamKey& send,
                           const StreamKey& receive, const ChannelBinding& binding)
    : stream_(kj::mv(stream)), binding_(binding), receive_key_(receive) {
  crypto_secretstream_xchacha20poly1305_init_push(&out_, out_header_.data(), send.data());
}

SecureStream::~SecureStream() noexcept(false) {
  sodium_memzero(&out_, sizeof(out_));
  sodium_memzero(&in_, sizeof(in_));
  sodium_memzero(receive_key_.data(), receive_key_.size());
}

// ---- in ----

kj::Promise<size_t> SecureStream::tryRead(void* buffer, size_t least, size_t most) {
  return read_on(static_cast<kj::byte*>(buffer), least, most, 0);
}

kj::Promise<size_t> SecureStream::read_on(kj::byte* to, size_t least, size_t most, size_t done) {
  const std::size_t n = std::min(most - done, plain_.size() - taken_);
  if (n > 0) std::memcpy(to + done, plain_.begin() + taken_, n);
  taken_ += n;
  done += n;
  if (taken_ == plain_.size()) {
    plain_ = nullptr;
    taken_ = 0;
  }
  if (done >= least && (done > 0 || least == 0)) return done;
  return read_record(kMostPlain)
      .then([this, to, least, most, done](kj::Array<kj::byte> record) -> kj::Promise<size_t> {
        if (record.size() == 0) return done;
        plain_ = kj::mv(record);
        return read_on(to, least, most, done);
      });
}

/// False at the end of the stream.
kj::Promise<bool> SecureStream::read_length() {
  const std::size_t wanted = header_read_ ? kLength : kHeader + kLength;
  return stream_->tryRead(in_start_.data() + (kHeader + kLength - wanted), wanted, wanted)
      .then([this, wanted](size_t have) -> kj::Promise<bool> {
        if (have == 0) return false;
        if (have < wanted) {
          return KJ_EXCEPTION(DISCONNECTED, "closed in the middle of an encrypted record");
        }
        if (!header_read_) {
          header_read_ = true;
          if (crypto_secretstream_xchacha20poly1305_init_pull(&in_, in_start_.data(),
                                                              receive_key_.data()) != 0) {
            return KJ_EXCEPTION(FAILED, "no encrypted stream begins like this");
          }
        }
        return true;
      });
}

kj::Promise<kj::Array<kj::byte>> SecureStream::read_record(std::size_t most) {
  using Record = kj::Array<kj::byte>;
  return read_length().then([this, most](bool more) -> kj::Promise<Record> {
    if (!more) return Record();
    std::size_t size = 0;
    for (std::size_t i = kLength; i > 0; --i) size = size << 8 | in_start_[kHeader + i - 1];
    // An empty record would be taken for the end.
    if (size <= kOverhead || size > most + kOverhead) {
      return KJ_EXCEPTION(FAILED, "an encrypted record cannot have so many bytes", size);
    }
    auto cipher = kj::heapArray<kj::byte>(size);
    auto reading = stream_->tryRead(cipher.begin(), size, size);
    return reading.then([this, cipher = kj::mv(cipher)](size_t have) -> kj::Promise<Record> {
      if (have < cipher.size()) {
        return KJ_EXCEPTION(DISCONNECTED, "closed in the middle of an encrypted record");
      }
      auto plain = kj::heapArray<kj::byte>(cipher.size() - kOverhead);
      unsigned char tag = 0;
      if (crypto_secretstream_xchacha20poly1305_pull(
              &in_, plain.begin(), nullptr, &tag, cipher.begin(), cipher.size(), nullptr, 0) != 0) {
        return KJ_EXCEPTION(FAILED, "what came was changed on its way, or made with another key");
      }
      return kj::mv(plain);
    });
  });
}

// ---- out ----

std::size_t SecureStream::put_record(kj::byte* to, kj::ArrayPtr<const kj::byte> plain) {
  const std::size_t size = plain.size() + kOverhead;
  for (std::size_t i = 0; i < kLength; ++i) to[i] = static_cast<kj::byte>(size >> (8 * i));
  crypto_secretstream_xchacha20poly1305_push(&out_, to + kLength, nullptr, plain.begin(),
                                             plain.size(), nullptr, 0, 0);
  return kLength + size;
}

kj::Promise<void> SecureStream::write(const void* buffer, size_t size) {
  auto piece = kj::heapArray<kj::ArrayPtr<const kj::byte>>(1);
  piece[0] = kj::arrayPtr(static_cast<const kj::byte*>(buffer), size);
  const Pieces pieces = piece;
  return write_on(pieces, {}).attach(kj::mv(piece));
}

kj::Promise<void> SecureStream::write(Pieces pieces) {
  return write_on(pieces, {});
}

kj::Promise<void> SecureStream::write_on(Pieces pieces, At at) {
  std::size_t left = 0;
  for (std::size_t i = at.piece; i < pieces.size(); ++i) left += pieces[i].size();
  left -= at.piece < pieces.size() ? at.offset : 0;
  const std::size_t now = std::min(left, kBatch);
  if (now == 0) return kj::READY_NOW;
  const std::size_t records = (now + kMostPlain - 1) / kMostPlain;
  const std::size_t header = header_sent_ ? 0 : kHeader;
  auto cipher = kj::heapArray<kj::byte>(header + now + records * (kLength + kOverhead));
  kj::byte* to = cipher.begin();
  if (!header_sent_) {
    to = std::copy(out_header_.begin(), out_header_.end(), to);
    header_sent_ = true;
  }
  std::array<kj::byte, 4096> small;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
  for (std::size_t done = 0; done < now;) {
    const std::size_t size = std::min(now - done, kMostPlain);
    auto gathered = size <= small.size() ? kj::Array<kj::byte>() : kj::heapArray<kj::byte>(size);
    kj::byte* const plain = size <= small.size() ? small.data() : gathered.begin();
    for (std::size_t have = 0; have < size;) {
      const auto piece = pieces[at.piece];
      const std::size_t n = std::min(size - have, piece.size() - at.offset);
      if (n > 0) std::memcpy(plain + have, piece.begin() + at.offset, n);
      have += n;
      at.offset += n;
      if (at.offset == piece.size()) at = {at.piece + 1, 0};
    }
    to += put_record(to, kj::arrayPtr(plain, size));
    done += size;
  }
  auto writing = stream_->write(cipher.begin(), static_cast<std::size_t>(to - cipher.begin()));
  return writing.attach(kj::mv(cipher)).then([this, pieces, at]() -> kj::Promise<void> {
    if (at.piece >= pieces.size()) return kj::READY_NOW;
    return write_on(pieces, at);
  });
}

ChannelBinding channel_binding(const kj::AsyncIoStream& stream) {
  const auto* const secure = dynamic_cast<const SecureStream*>(&stream);
  return secure == nullptr ? ChannelBinding{} : secure->binding();
}

}  // namespace sublet::wire
