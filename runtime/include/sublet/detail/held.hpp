#pragma once

// A callable and its arguments on the worker: values, and the memory of spans. Not for
// applications.

#include <sublet/archive.hpp>
#include <sublet/detail/spans.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

namespace sublet::detail {

/// Memory for a value that need not have a default constructor: its bytes are it.
template <class T>
struct Bytes {
  alignas(T) std::array<std::byte, sizeof(T)> bytes;
  [[nodiscard]] T& value() noexcept { return *std::launder(reinterpret_cast<T*>(bytes.data())); }
};

/// An argument on the worker: the value, or the memory of a span.
template <class V>
struct Held {
  V value{};
  typename Given<V>::Type& given() noexcept { return value; }
};
template <class V>
requires(kIsBytes<V> && !IsIn<V>::value && !IsOut<V>::value) struct Held<V> {
  Bytes<V> bytes;
  V& given() noexcept { return bytes.value(); }
};
template <class T>
struct Held<In<T>> {
  std::size_t count = 0;
  std::int64_t place = 0;       ///< Not 0: from the input's begin.
  std::vector<std::byte> copy;  ///< Only where the bytes lie badly for T.
  std::span<const T> memory;
  std::span<const T>& given() noexcept { return memory; }
  void lies_at(const std::byte* bytes) {
    if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(T) == 0) {
      memory = {reinterpret_cast<const T*>(bytes), count};
      return;
    }
    copy.resize(count * sizeof(T) + alignof(T));
    void* aligned_at = copy.data();
    std::size_t room = copy.size();
    std::align(alignof(T), count * sizeof(T), aligned_at, room);
    if (count != 0) std::memcpy(aligned_at, bytes, count * sizeof(T));
    memory = {static_cast<const T*>(aligned_at), count};
  }
};
template <class T>
struct Held<Out<T>> {
  std::size_t count = 0;
  std::int64_t place = 0;
  std::vector<std::byte> copy;
  std::byte* bytes = nullptr;
  std::span<T> memory;
  std::span<T>& given() noexcept { return memory; }
  void lies_at(std::byte* where) {
    bytes = where;
    if (reinterpret_cast<std::uintptr_t>(where) % alignof(T) == 0) {
      memory = {reinterpret_cast<T*>(where), count};
      return;
    }
    copy.resize(count * sizeof(T) + alignof(T));
    void* aligned_at = copy.data();
    std::size_t room = copy.size();
    std::align(alignof(T), count * sizeof(T), aligned_at, room);
    memory = {static_cast<T*>(aligned_at), count};
  }
  void leave() {
    if (!copy.empty() && count != 0) std::memcpy(bytes, memory.data(), count * sizeof(T));
  }
};

}  // namespace sublet::detail
