#pragma once

#include <span>
#include <type_traits>

namespace sublet {

/// Memory that the function reads.
template <class T>
struct In {
  std::span<const T> memory;
};
/// Memory that the function writes: all of it.
template <class T>
struct Out {
  std::span<T> memory;
};

template <class Range>
[[nodiscard]] auto in(const Range& range) {
  const std::span memory(range);
  using T = std::remove_const_t<typename decltype(memory)::element_type>;
  return In<T>{std::span<const T>(memory.data(), memory.size())};
}
template <class Range>
[[nodiscard]] auto out(Range&& range) {
  const std::span memory(range);
  using T = typename decltype(memory)::element_type;
  static_assert(!std::is_const_v<T>,
                "sublet::out names memory that the function writes: not const");
  return Out<T>{std::span<T>(memory.data(), memory.size())};
}

namespace detail {

template <class T>
struct IsIn : std::false_type {};
template <class T>
struct IsIn<In<T>> : std::true_type {};
template <class T>
struct IsOut : std::false_type {};
template <class T>
struct IsOut<Out<T>> : std::true_type {};

/// What the function is given for an argument.
template <class A>
struct Given {
  using Type = A;
};
template <class T>
struct Given<In<T>> {
  using Type = std::span<const T>;
};
template <class T>
struct Given<Out<T>> {
  using Type = std::span<T>;
};

}  // namespace detail
}  // namespace sublet
