#pragma once

// How arguments and results travel to a worker and back: as their bytes where they are trivially
// copyable; else by serialize(archive, value), found by argument-dependent lookup, which the same
// function does both ways:
//
//   struct Mesh { std::string name; std::vector<double> heights; };
//   template <class Archive> void serialize(Archive& archive, Mesh& mesh) {
//     archive(mesh.name, mesh.heights);
//   }
//
// std::string, and std::vector and std::array of what travels, travel without that.

#include <sublet/function.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace sublet {

class Writer;
class Reader;

namespace detail {

template <class T>
struct IsVector : std::false_type {};
template <class T, class A>
struct IsVector<std::vector<T, A>> : std::true_type {};
template <class T>
struct IsString : std::false_type {};
template <class T, class A>
struct IsString<std::basic_string<char, T, A>> : std::true_type {};
template <class T>
struct IsArray : std::false_type {};
template <class T, std::size_t N>
struct IsArray<std::array<T, N>> : std::true_type {};
/// Trivially copyable, and yet they mean nothing in another process.
template <class T>
struct IsView : std::bool_constant<std::is_pointer_v<T> || std::is_null_pointer_v<T>> {};
template <class T, std::size_t N>
struct IsView<std::span<T, N>> : std::true_type {};
template <class C, class T>
struct IsView<std::basic_string_view<C, T>> : std::true_type {};

template <class T>
concept HasSerialize = requires(Writer& writer, Reader& reader, T& value) {
  serialize(writer, value);
  serialize(reader, value);
};

template <class T>
constexpr bool travels() {
  constexpr bool kWhole = HasSerialize<T> || std::is_trivially_copyable_v<T> || IsString<T>::value;
  if constexpr (kWhole && !IsView<T>::value) {
    return true;
  } else if constexpr (IsVector<T>::value || IsArray<T>::value) {
    return travels<typename T::value_type>();
  } else {
    return false;
  }
}

/// Its bytes are all of it.
template <class T>
inline constexpr bool kIsBytes = std::is_trivially_copyable_v<T> && !HasSerialize<T>;

}  // namespace detail

/// Writes values one after the other; without memory it only counts their bytes.
class Writer {
 public:
  Writer() = default;
  explicit Writer(std::span<std::byte> memory) noexcept : memory_(memory) {}

  template <class... T>
  void operator()(const T&... values) {
    (write(values), ...);
  }
  void bytes(const void* from, std::size_t count) {
    if (at_ <= memory_.size() && count <= memory_.size() - at_ && count != 0) {
      std::memcpy(memory_.data() + at_, from, count);
    }
    at_ += count;
  }
  /// Of all that has been written, whether there was room for it or not.
  [[nodiscard]] std::size_t size() const noexcept { return at_; }

 private:
  template <class T>
  void write(const T& value) {
    static_assert(detail::travels<T>(),
                  "sublet: a value of this type does not travel: make it trivially copyable, or "
                  "write template <class Archive> void serialize(Archive&, T&) beside it");
    if constexpr (detail::HasSerialize<T>) {
      serialize(*this, const_cast<T&>(value));
    } else if constexpr (detail::kIsBytes<T>) {
      bytes(&value, sizeof(T));
    } else {
      if constexpr (!detail::IsArray<T>::value) write(std::uint64_t{value.size()});
      if constexpr (detail::IsString<T>::value) {
        bytes(value.data(), value.size());
      } else if constexpr (std::is_same_v<typename T::value_type, bool>) {
        for (const bool each : value) write(each);
      } else if constexpr (detail::kIsBytes<typename T::value_type>) {
        bytes(value.data(), value.size() * sizeof(typename T::value_type));
      } else {
        for (const auto& each : value) write(each);
      }
    }
  }

  std::span<std::byte> memory_;
  std::size_t at_ = 0;
};

/// Reads what a Writer has written. Throws FunctionError where that ends too early.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> memory) noexcept : memory_(memory) {}

  template <class... T>
  void operator()(T&... values) {
    (read(values), ...);
  }
  void bytes(void* to, std::size_t count) {
    if (count != 0) std::memcpy(to, take(count), count);
  }
  /// The next bytes where they lie.
  const std::byte* take(std::size_t count) {
    if (count > memory_.size()) throw FunctionError("what came ends too early");
    const std::byte* here = memory_.data();
    memory_ = memory_.subspan(count);
    return here;
  }
  [[nodiscard]] std::size_t left() const noexcept { return memory_.size(); }

 private:
  template <class T>
  void read(T& value) {
    if constexpr (detail::HasSerialize<T>) {
      serialize(*this, value);
    } else if constexpr (detail::kIsBytes<T>) {
      bytes(&value, sizeof(T));
    } else if constexpr (detail::IsArray<T>::value) {
      for (auto& each : value) read(each);
    } else {
      std::uint64_t count = 0;
      read(count);
      using Each = typename T::value_type;
      // Each element takes a byte at least: a wrong count asks for no memory.
      const std::size_t least = detail::kIsBytes<Each> ? sizeof(Each) : 1;
      if (count > left() / least) throw FunctionError("what came ends too early");
      value.resize(static_cast<std::size_t>(count));
      if constexpr (std::is_same_v<Each, bool>) {
        for (std::size_t i = 0; i < value.size(); ++i) {
          bool each = false;
          read(each);
          value[i] = each;
        }
      } else if constexpr (detail::kIsBytes<Each>) {
        bytes(value.data(), value.size() * sizeof(Each));
      } else {
        for (auto& each : value) read(each);
      }
    }
  }

  std::span<const std::byte> memory_;
};

}  // namespace sublet
