#pragma once

#include "helper_process.hpp"
#include "raw_layout.hpp"
#include <base/clock.hpp>
#include <base/shared_memory.hpp>
#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sublet::bench {

/// The raw exchange of bytes between two pinned processes over shared memory, with nothing of
/// Sublet's in it: the baseline of `sublet bench latency`. Holds the client's end and the server
/// process.
///
/// Start it before the process has a second thread. Thread rule: the thread that started it.
class RawExchange {
 public:
  /// Forks the server, asleep. Payloads of up to `max_size` bytes.
  static Result<RawExchange> start(std::size_t max_size);

  [[nodiscard]] pid_t server() const noexcept { return server_.pid(); }

  /// Binds the server to a core.
  Result<void> pin_server(int cpu);

  /// Wakes the server and returns once it waits for exchanges of `size` bytes.
  Result<void> begin(RawKind kind, std::size_t size);
  /// Sends the server to sleep; returns once it is about to.
  Result<void> end();

  /// One exchange, as the server's kind has it: `size` bytes from `in`, as many back to `out`.
  /// False when the server has died or does not answer. HOT-PATH BUDGET: two copies of the payload
  /// and two flags, a futex call more when warm.
  [[nodiscard]] bool exchange_hot(const std::byte* in, std::byte* out) noexcept;
  [[nodiscard]] bool exchange_warm(const std::byte* in, std::byte* out) noexcept;

  /// What a cache line written by both sides in turn takes one way, in ns: the median of some
  /// groups, about 0.1 ms of measuring. Wakes the server and sends it to sleep again.
  Result<double> bounced_line_ns();

  /// Streams `count` payloads of `size` bytes: each is copied from private memory to the next of
  /// `window` places and a flag is raised; the server looks at its ends and answers. Bytes per
  /// second until the last answer. Call it between begin(kStream, size) and end(), and start with
  /// room for window * stream_stride(size).
  Result<double> write_bandwidth(std::size_t size, std::uint64_t count, std::size_t window);

 private:
  /// Spins until `word` reads `want`; false when the server will not write it any more.
  template <class Word, class Value>
  [[nodiscard]] bool await(const std::atomic<Word>& word, Value want) noexcept {
    return spin_until([&] { return word.load(std::memory_order_acquire) == want; });
  }
  template <class Done>
  [[nodiscard]] bool spin_until(Done done) noexcept {
    // So many spins (some milliseconds) outlast any exchange, so that no measured one pays for the
    // look at the server. The pause makes the exchange faster: fewer looks at a line that the other
    // side is about to write (8 B: 95 ns with it, 127 ns without).
    constexpr std::uint32_t kSpinsPerCheck = 1u << 18;
    std::uint32_t spins = 0;
    while (!done()) {
      base::cpu_pause();
      if (++spins == kSpinsPerCheck) [[unlikely]] {
        spins = 0;
        if (!server_is_there()) return false;
      }
    }
    waiting_since_ = 0;
    return true;
  }
  [[nodiscard]] bool server_is_there() noexcept;
  [[nodiscard]] bool bounce(std::uint64_t& word) noexcept;
  [[nodiscard]] RawControl& control() noexcept;
  tl::unexpected<Error> server_gone() const;

  base::SharedMemory memory_;
  HelperProcess server_;
  RawFlag* request_ = nullptr;
  RawFlag* reply_ = nullptr;
  std::byte* request_payload_ = nullptr;
  std::byte* reply_payload_ = nullptr;
  std::size_t max_size_ = 0;
  std::size_t size_ = 0;
  std::uint64_t number_ = 0;
  std::uint32_t commands_ = 0;
  std::uint64_t waiting_since_ = 0;
  StreamSource source_;
};

inline bool RawExchange::exchange_hot(const std::byte* in, std::byte* out) noexcept {
  const std::uint64_t number = ++number_;
  if (size_ <= kFlagBytes) {
    request_->value.store(number, std::memory_order_release);
    if (!await(reply_->value, number)) return false;
    std::memcpy(out, &number, size_);
    return true;
  }
  std::memcpy(request_payload_, in, size_);
  request_->value.store(number, std::memory_order_release);
  if (!await(reply_->value, number)) return false;
  std::memcpy(out, reply_payload_, size_);
  return true;
}

}  // namespace sublet::bench
