#pragma once

// What can be called on a worker and what can travel with it; what the compiler says otherwise. Not
// for applications.

#include <sublet/archive.hpp>
#include <sublet/detail/spans.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

namespace sublet::detail {

/// A function that is known when the program is compiled: nothing of it travels.
template <auto F>
struct Constant {
  template <class... Args>
  auto operator()(Args&&... args) const -> decltype(std::invoke(F, std::forward<Args>(args)...)) {
    return std::invoke(F, std::forward<Args>(args)...);
  }
};

/// A free function by its distance from `anchor`, a function of the same program: the same in each
/// process, wherever the program is loaded.
template <class F>
struct Distant;
template <class R, class... A, bool N>
struct Distant<R (*)(A...) noexcept(N)> {
  using Pointer = R (*)(A...) noexcept(N);
  std::intptr_t distance = 0;

  static void anchor() {}
  explicit Distant(Pointer f) noexcept
      : distance(reinterpret_cast<std::intptr_t>(f) - reinterpret_cast<std::intptr_t>(&anchor)) {}
  R operator()(A... args) const noexcept(N) {
    return reinterpret_cast<Pointer>(reinterpret_cast<std::intptr_t>(&anchor) +
                                     distance)(std::forward<A>(args)...);
  }
};

template <class F>
decltype(auto) as_bare(const F& f) {
  using D = std::decay_t<F>;
  if constexpr (std::is_pointer_v<D>) {
    static_assert(std::is_function_v<std::remove_pointer_t<D>>,
                  "sublet: the first argument is called on the worker: a lambda, a function object "
                  "or a function");
    return Distant<D>(f);
  } else {
    return (f);
  }
}

/// An argument as it is kept for a call: by value, and memory by its name.
template <class A>
const A& as_value(const A& argument) {
  return argument;
}

/// The compiler names Number (from 1 on) and Type where this does not hold.
template <std::size_t Number, class Type>
struct CheckArgument {
  static_assert(!IsView<Type>::value,
                "sublet: this argument is a pointer or a view, which means nothing on the worker: "
                "pass memory as sublet::in(span) or sublet::out(span), text as std::string");
  static_assert(IsView<Type>::value || IsIn<Type>::value || IsOut<Type>::value || travels<Type>(),
                "sublet: this argument does not travel: it is not trivially copyable. Make it so, "
                "or write template <class Archive> void serialize(Archive&, Type&) beside it "
                "(sublet/archive.hpp)");
  static constexpr bool kDone = true;
};
template <std::size_t Number, class T>
struct CheckArgument<Number, In<T>> {
  static_assert(std::is_trivially_copyable_v<T>,
                "sublet::in: the elements of a span travel as their bytes and must be trivially "
                "copyable: pass a std::vector of them");
  static constexpr bool kDone = true;
};
template <std::size_t Number, class T>
struct CheckArgument<Number, Out<T>> {
  static_assert(std::is_trivially_copyable_v<T>,
                "sublet::out: the elements of a span travel as their bytes and must be trivially "
                "copyable: return a std::vector of them");
  static constexpr bool kDone = true;
};
template <class Type>
struct CheckCallable {
  static_assert(travels<Type>(),
                "sublet: a capture of this lambda (or a member of this function object) does not "
                "travel: it is not trivially copyable. Pass it as an argument of the call instead "
                "(std::string, std::vector and types with serialize() are welcome there), or "
                "capture plain data");
  static constexpr bool kDone = true;
};
template <class Type>
struct CheckResult {
  static_assert(
      std::is_void_v<Type> || !IsView<Type>::value,
      "sublet: the function returns a pointer, a reference or a view, which means nothing "
      "here: return a value");
  static_assert(std::is_void_v<Type> || IsView<Type>::value || travels<Type>(),
                "sublet: what the function returns does not travel: it is not trivially copyable. "
                "Make it so, or write template <class Archive> void serialize(Archive&, Type&) "
                "beside it (sublet/archive.hpp)");
  static constexpr bool kDone = true;
};

}  // namespace sublet::detail
