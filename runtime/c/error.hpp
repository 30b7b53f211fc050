#pragma once

#include <sublet/c.hpp>

#include <cxxabi.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace sublet::c {

// ---- Each makes its text the last error of this thread, and returns the code. ----

int failed(int code, const std::string& text) noexcept;
/// `what` is null: "the lease".
int null_handle(const char* what) noexcept;
int null_pointer(const char* what) noexcept;
int bad_count(const char* what, std::intmax_t found) noexcept;
/// What a negative number becomes as a size.
int bad_size(const char* what, std::size_t found) noexcept;

inline constexpr std::size_t kMostBytes = PTRDIFF_MAX;

/// Frees the handle at `handle`, and leaves null.
template <class Handle>
int free_handle(Handle** handle, const char* what) {
  if (handle == nullptr) return null_pointer(what);
  Handle* const freed = std::exchange(*handle, nullptr);
  return guarded(what, [&]() -> Result<void> {
    delete freed;
    return {};
  });
}

/// A limit in ns: -1 is none.
[[nodiscard]] inline std::chrono::nanoseconds limit_from(std::int64_t ns) noexcept {
  return ns < 0 ? std::chrono::nanoseconds::max() : std::chrono::nanoseconds(ns);
}

}  // namespace sublet::c
