#pragma once

// How a callable and its arguments travel: what is known of it when the program is compiled. Not
// for applications.

#include <sublet/detail/callable.hpp>
#include <sublet/detail/held.hpp>
#include <sublet/detail/spans.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sublet::detail {

template <class... A>
struct Arguments {};

template <class F, class Args>
struct Shape;

template <class F, class... A>
struct Shape<F, Arguments<A...>> {
  using Bare = F;
  using Values = std::tuple<A...>;
  template <class Callable>
  static constexpr bool kCanCall = std::is_invocable_v<Callable&, typename Given<A>::Type&...>;
  // A mutable lambda changes the copy of its captures that the worker has.
  using Callable = std::conditional_t<kCanCall<const F>, const F, F>;
  static_assert(kCanCall<Callable>,
                "sublet: the function cannot be called with these arguments (sublet::in gives it a "
                "std::span<const T>, sublet::out a std::span<T>)");
  using Raw = std::invoke_result_t<Callable&, typename Given<A>::Type&...>;
  using Returned = std::remove_cvref_t<Raw>;
  using Returns = std::conditional_t<std::is_void_v<Returned>, std::byte, Returned>;

  static_assert(CheckCallable<F>::kDone && CheckResult<Returned>::kDone);
  template <std::size_t... I>
  static constexpr bool check(std::index_sequence<I...>) {
    return (CheckArgument<I + 1, A>::kDone && ... && true);
  }
  static_assert(check(std::index_sequence_for<A...>()));

  static constexpr bool kHasSpans = (... || (IsIn<A>::value || IsOut<A>::value));
  static constexpr bool kHasOut = (... || IsOut<A>::value);
  static constexpr bool kCallableIsEmpty = std::is_empty_v<F>;
  template <class T>
  static constexpr std::size_t bytes_of() {
    if constexpr (kIsBytes<T>) return sizeof(T);
    return 0;
  }

  /// All of it is plain bytes, of a size that is known.
  static constexpr bool kFixedInput = !kHasSpans && (kIsBytes<F> && ... && kIsBytes<A>);
  static constexpr std::size_t kInputBytes =
      ((kCallableIsEmpty ? 0 : sizeof(F)) + ... + bytes_of<A>());
  static constexpr bool kFixedOutput = !kHasOut && (std::is_void_v<Returned> || kIsBytes<Returns>);
  static constexpr std::size_t kOutputBytes =
      std::is_void_v<Returned> || !kFixedOutput ? 0 : sizeof(Returns);

  /// One span, and nothing returned: the span is the output.
  static constexpr bool kDirectOutput =
      std::is_void_v<Returned> && (0 + ... + (IsOut<A>::value ? 1 : 0)) == 1;
  /// One span, and nothing else to tell the function: the span is the input.
  static constexpr bool kDirectInput = kCallableIsEmpty && (!kHasOut || kDirectOutput) &&
                                       (0 + ... + (IsOut<A>::value ? 0 : 1)) == 1 &&
                                       (0 + ... + (IsIn<A>::value ? 1 : 0)) == 1;

  /// Packed memory begins at such a multiple within the input.
  static constexpr std::size_t kAlign = 16;

  /// For each span that the worker uses where it lies: that place, and once the input has one, the
  /// distance from it. Zero: it is packed.
  using Places = std::array<std::intptr_t, sizeof...(A)>;

  static constexpr std::size_t aligned(std::size_t size) noexcept {
    return (size + kAlign - 1) / kAlign * kAlign;
  }

  template <class Body>
  static void for_each(const Values& values, Body&& body) {
    std::apply(
        [&](const auto&... value) {
          [[maybe_unused]] std::size_t i = 0;
          (body(value, i++), ...);
        },
        values);
  }
};

}  // namespace sublet::detail
