#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sublet::executor {

/// Puts a text together in a signal handler: no allocation, no locale, no library call. Cut at its
/// capacity. Owner: the handler's stack.
class SignalSafeText {
 public:
  SignalSafeText& add(std::string_view text) noexcept {
    for (const char c : text) {
      if (size_ < buffer_.size()) buffer_[size_++] = c;
    }
    return *this;
  }

  SignalSafeText& add_number(std::uint64_t value) noexcept { return add_digits(value, 10); }
  SignalSafeText& add_number(std::int64_t value) noexcept {
    if (value >= 0) return add_digits(static_cast<std::uint64_t>(value), 10);
    add("-");
    return add_digits(std::uint64_t{0} - static_cast<std::uint64_t>(value), 10);
  }
  SignalSafeText& add_address(std::uint64_t value) noexcept {
    add("0x");
    return add_digits(value, 16);
  }

  [[nodiscard]] std::string_view view() const noexcept { return {buffer_.data(), size_}; }

 private:
  SignalSafeText& add_digits(std::uint64_t value, unsigned base) noexcept {
    std::array<char, 20> digits;
    std::size_t first = digits.size();
    do {
      digits[--first] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    return add({digits.data() + first, digits.size() - first});
  }

  std::array<char, 500> buffer_;
  std::size_t size_ = 0;
};

}  // namespace sublet::executor
