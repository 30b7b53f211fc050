#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::fuzz {

using Bytes = std::vector<std::byte>;

/// Something that reads bytes from outside. It takes whatever comes, in bounded time and memory, or
/// it crashes: that is the finding.
struct Target {
  const char* name;
  void (*run)(std::span<const std::byte> input);
  /// What the mutations begin with: input that is good.
  std::vector<Bytes> (*seeds)();
};

/// All that are linked, by their names.
std::vector<Target>& targets();

/// Makes a Target known: a variable of the target's file.
struct Registered {
  explicit Registered(const Target& target) { targets().push_back(target); }
};

/// What must be true whatever the input is.
inline void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "fuzz: broken: %s\n", what);
  std::abort();
}

/// Takes an input apart; past its end there are zeroes.
class Pieces {
 public:
  explicit Pieces(std::span<const std::byte> input) : left_(input) {}

  [[nodiscard]] bool empty() const noexcept { return left_.empty(); }
  template <class T>
  T take() {
    T value{};
    const auto some = take_bytes(sizeof(T));
    std::memcpy(static_cast<void*>(&value), some.data(), some.size());
    return value;
  }
  std::span<const std::byte> take_bytes(std::size_t most) {
    const auto some = left_.first(std::min(most, left_.size()));
    left_ = left_.subspan(some.size());
    return some;
  }
  std::span<const std::byte> rest() { return take_bytes(left_.size()); }

 private:
  std::span<const std::byte> left_;
};

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
template <class T>
Bytes bytes_of_value(const T& value) {
  const auto bytes = std::as_bytes(std::span<const T, 1>(&value, 1));
  return {bytes.begin(), bytes.end()};
}

}  // namespace sublet::fuzz
