#pragma once

// What the benchmarks send, ours and the bare exchanges alike.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace sublet::bench {

/// The client's private copy of what it sends and of what came back.
class PrivatePayload {
 public:
  explicit PrivatePayload(std::size_t size) : in_(size), out_(size) {
    for (std::size_t i = 0; i < size; ++i) in_[i] = static_cast<std::byte>(i * 37 + i / 256);
  }

  [[nodiscard]] std::byte* in() noexcept { return in_.data(); }
  [[nodiscard]] std::byte* out() noexcept { return out_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return in_.size(); }

  /// Makes this call's payload differ from the last one's.
  void mark() noexcept {
    const std::uint64_t number = ++number_;
    if (size() >= sizeof(number)) {
      std::memcpy(in(), &number, sizeof(number));
    } else {
      std::memcpy(in(), &number, size());
    }
  }
  /// True when the marked bytes came back.
  [[nodiscard]] bool mark_came_back() const noexcept {
    if (in_.size() >= sizeof(std::uint64_t)) {
      return std::memcmp(in_.data(), out_.data(), sizeof(std::uint64_t)) == 0;
    }
    return std::memcmp(in_.data(), out_.data(), in_.size()) == 0;
  }
  /// True when all of it came back; forgets it, so that the next look sees the next call.
  [[nodiscard]] bool all_came_back() noexcept {
    const bool same = in_ == out_;
    out_.assign(out_.size(), std::byte{0});
    return same;
  }

 private:
  std::vector<std::byte> in_;
  std::vector<std::byte> out_;
  std::uint64_t number_ = 0;
};

// ---- streams ----

/// Messages that any bare stream has under way at most, each in a place of its own.
inline constexpr std::size_t kStreamWindow = 16;

/// From one place to the next: adjacent lines are fetched in pairs.
[[nodiscard]] inline constexpr std::size_t stream_stride(std::size_t size) {
  constexpr std::size_t kAlone = 128;
  return (size + kAlone - 1) / kAlone * kAlone;
}

/// What is looked at of a payload that has arrived: its first and its last word.
[[nodiscard]] inline std::uint64_t ends_of(const std::byte* payload, std::size_t size) noexcept {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  const std::size_t word = size < sizeof(first) ? size : sizeof(first);
  std::memcpy(&first, payload, word);
  std::memcpy(&last, payload + size - word, word);
  return first + last;
}

/// Bytes of which ends_of() is not 0, others for each `number`.
inline void fill_stream_payload(std::byte* payload, std::size_t size, std::size_t number) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    payload[i] = static_cast<std::byte>(i * 37 + i / 256 + number + 1);
  }
}

/// The private memory that a stream over shared memory copies from. It begins half a page off from
/// where its destination does: some processors copy several times slower between places that lie
/// alike in their pages, and which do would be left to chance, for each side by itself.
class StreamSource {
 public:
  StreamSource() = default;
  StreamSource(std::size_t size, const std::byte* destination) : memory_(size + kPage) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(destination) + kPage / 2;
    skipped_ = (wanted - reinterpret_cast<std::uintptr_t>(memory_.data())) % kPage;
    fill_stream_payload(memory_.data() + skipped_, size, 0);
    size_ = size;
  }
  [[nodiscard]] const std::byte* data() const noexcept { return memory_.data() + skipped_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t kPage = 4096;
  std::vector<std::byte> memory_;
  std::size_t skipped_ = 0;
  std::size_t size_ = 0;
};

/// Bytes per second, for streams.
[[nodiscard]] inline double per_second(std::uint64_t bytes, std::uint64_t ns) noexcept {
  return static_cast<double>(bytes) * 1e9 / static_cast<double>(ns);
}

}  // namespace sublet::bench
