#pragma once

#include "raw_exchange.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sublet::bench {

/// The bare exchange over a network that writes into the peer's registered memory and tells both
/// sides by completions. A message is a write of its payload with a word of 32 bits, its number.
/// End is one process's end of it:
///   std::byte* out(), const std::byte* in()    where it sends from, and where the peer writes to:
///                                              the same place, or another
///   bool send(size, word)                      false: the connection is broken
///   int receive(word)                          1: a message came; 0: nothing; -1: broken
///   int receive_asleep(word)                   the same, after sleeping until something may have
///   int start_write(size, offset)              a write without a word; 1: started; 0: no room;
///                                              -1: broken
///   std::uint64_t writes_done()                of these, as far as receive() has seen
///   static constexpr std::uint32_t kLooksPerCheck
template <class Derived, class End>
class RawCompletions : public RawExchangeOf<Derived> {
 public:
  static constexpr std::size_t kInFlag = 0;

  /// HOT-PATH BUDGET: a copy of the payload into and out of registered memory, one write posted
  /// (inline where the device takes it), looks at the completions until the answer is there. The
  /// client's side is the same when warm: it is the server that sleeps.
  template <RawKind kKind>
  [[nodiscard]] bool exchange(const std::byte* in, std::byte* out) noexcept {
    const std::uint32_t number = next_number();
    std::memcpy(end_.out(), in, this->size());
    if (!end_.send(this->size(), number)) return false;
    if (!await_word(number)) return false;
    std::memcpy(out, end_.in(), this->size());
    return true;
  }

 protected:
  [[nodiscard]] End& this_end() noexcept { return end_; }

 private:
  /// More than any exchange's number: the server goes to sleep.
  static constexpr std::uint32_t kStopWord = 0xffff'ffff;
  [[nodiscard, gnu::always_inline]] bool await_word(std::uint32_t number) noexcept {
    return this->template spin<End::kLooksPerCheck>([&] {
      std::uint32_t word = 0;
      const int got = end_.receive(word);
      return got > 0 && word != number ? 0 : got;
    });
  }
  [[nodiscard]] std::uint32_t next_number() noexcept { return ++number_ & 0x7fff'ffff; }

  bool serve(RawKind kind, std::size_t size) final {
    switch (kind) {
      case RawKind::kHot:
        return serve_calls<false>(size);
      case RawKind::kWarm:
        return serve_calls<true>(size);
      case RawKind::kStream:
        return serve_calls<false>(0);  // it answers each stream's last word
      case RawKind::kLine:
        break;
    }
    return false;
  }
  template <bool kSleeps>
  bool serve_calls(std::size_t size) {
    for (;;) {
      std::uint32_t word = 0;
      const int got = kSleeps ? end_.receive_asleep(word) : end_.receive(word);
      if (got == 0) continue;
      if (got < 0) return false;
      if (word == kStopWord) return true;
      if (end_.in() != end_.out()) std::memcpy(end_.out(), end_.in(), size);
      if (!end_.send(size, word)) return false;
    }
  }

  void reset(RawKind) final {}
  [[nodiscard]] bool stop() noexcept final { return end_.send(0, kStopWord); }
  [[nodiscard]] bool push_out() noexcept final {
    std::uint32_t word = 0;
    return end_.receive(word) >= 0;
  }
  [[nodiscard]] bool stream(std::size_t size, std::uint64_t count,
                            std::size_t window) noexcept final {
    const std::size_t stride = stream_stride(size);
    const std::uint64_t before = end_.writes_done();
    std::uint64_t started = 0;
    std::uint64_t done = 0;
    std::uint32_t word = 0;
    // What was written has left when it completes, and only then is the next started in its place.
    const bool written = this->template spin<End::kLooksPerCheck>([&] {
      while (started < count && started - done < window) {
        const int begun = end_.start_write(size, started % window * stride);
        if (begun < 0) return -1;
        if (begun == 0) break;
        ++started;
      }
      if (end_.receive(word) < 0) return -1;
      if (const std::uint64_t now = end_.writes_done() - before; now != done) {
        done = now;
        this->heard();
      }
      return done == count ? 1 : 0;
    });
    const std::uint32_t number = next_number();
    return written && end_.send(0, number) && await_word(number);
  }

  End end_;
  std::uint32_t number_ = 0;
};

}  // namespace sublet::bench
