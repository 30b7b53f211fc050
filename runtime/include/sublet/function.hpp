#pragma once

// For authors of function libraries: typed functions without the C plumbing.
//
//   #include <sublet/function.hpp>
//   struct Point { double x, y; };
//   SUBLET_FUNCTION(norm, const Point& p, double& result) { result = std::hypot(p.x, p.y); }
//
// exports `norm` in the typed form. For input or output whose size varies, take the call itself:
//
//   SUBLET_CALL_FUNCTION(reverse, sublet::FunctionCall& call) {
//     auto in = call.input<char>();
//     auto out = call.output<char>(in.size());   // throws OutputTooLarge when it does not fit
//     std::reverse_copy(in.begin(), in.end(), out.begin());
//   }
//
// A typed function reports an error by throwing; the caller gets Status::kFunctionError for
// sublet::FunctionError and Status::kException for anything else, with the text.

#include <sublet/export.hpp>
#include <sublet/function_abi.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace sublet {

/// Thrown by a function to report an error of its own domain to the caller.
class FunctionError : public std::runtime_error {
 public:
  explicit FunctionError(const std::string& text, int code = 1)
      : std::runtime_error(text), code_(code) {}
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

/// Thrown by FunctionCall::output when the caller's buffer is too small.
class OutputTooLarge : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "output too large"; }
};

/// One invocation seen from inside a typed function. Valid until the function returns.
class FunctionCall {
 public:
  explicit FunctionCall(struct sublet_call& call) noexcept : call_(call) {}

  [[nodiscard]] std::size_t input_size() const noexcept { return call_.input_size; }
  [[nodiscard]] std::size_t output_capacity() const noexcept { return call_.output_capacity; }

  /// The input as an array of T. Throws FunctionError when its size is no multiple of sizeof(T).
  template <class T>
  [[nodiscard]] std::span<const T> input() const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (call_.input_size % sizeof(T) != 0) {
      throw FunctionError("the input of " + std::to_string(call_.input_size) +
                          " bytes is no whole number of elements of " + std::to_string(sizeof(T)) +
                          " bytes");
    }
    return {static_cast<const T*>(call_.input), call_.input_size / sizeof(T)};
  }

  /// Room for `count` elements of T, which become the output. Throws OutputTooLarge.
  template <class T>
  [[nodiscard]] std::span<T> output(std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (count > call_.output_capacity / sizeof(T)) {
      call_.output_size = count * sizeof(T);
      throw OutputTooLarge();
    }
    call_.output_size = count * sizeof(T);
    return {static_cast<T*>(call_.output), count};
  }

 private:
  struct sublet_call& call_;
};

namespace detail {

/// Runs `body` and turns what it throws of Sublet's own into the C form's return value. Other
/// exceptions pass through to the executor, which names them.
template <class Body>
std::int32_t run_typed(struct sublet_call* call, Body&& body) {
  try {
    body();
    return 0;
  } catch (const OutputTooLarge&) {
    return SUBLET_OUTPUT_TOO_LARGE;
  } catch (const FunctionError& error) {
    std::snprintf(call->error_text, call->error_capacity, "%s", error.what());
    return error.code() == 0 || error.code() == SUBLET_OUTPUT_TOO_LARGE ? 1 : error.code();
  }
}

template <class Parameter, class Out>
std::int32_t run_fixed(struct sublet_call* call, void (*body)(Parameter, Out&)) {
  using In = std::remove_cvref_t<Parameter>;
  return run_typed(call, [&] {
    if (call->input_size != sizeof(In)) {
      throw FunctionError("expected an input of " + std::to_string(sizeof(In)) + " bytes and got " +
                          std::to_string(call->input_size));
    }
    if (call->output_capacity < sizeof(Out)) {
      call->output_size = sizeof(Out);
      throw OutputTooLarge();
    }
    In in;
    Out out{};
    std::memcpy(&in, call->input, sizeof(In));
    body(in, out);
    std::memcpy(call->output, &out, sizeof(Out));
    call->output_size = sizeof(Out);
  });
}

template <class Body>
struct FixedSignature {
  static_assert(!std::is_same_v<Body, Body>,
                "SUBLET_FUNCTION takes an input by value or by const reference, and an output by "
                "reference: SUBLET_FUNCTION(name, const In& in, Out& out)");
};
template <class Parameter, class Out>
struct FixedSignature<void (*)(Parameter, Out&)> {
  using In = std::remove_cvref_t<Parameter>;
  static_assert(std::is_trivially_copyable_v<In> && std::is_trivially_copyable_v<Out>,
                "the input and the output of a SUBLET_FUNCTION travel as bytes: their types must "
                "be trivially copyable; for others take the call itself, SUBLET_CALL_FUNCTION");
  static_assert(!std::is_const_v<Out>, "the output of a SUBLET_FUNCTION must not be const");
  static constexpr sublet_function_info kInfo{SUBLET_FUNCTION_ABI_VERSION, 0, sizeof(In),
                                              sizeof(Out)};
};

}  // namespace detail
}  // namespace sublet

#define SUBLET_EXPORT extern "C" __attribute__((visibility("default")))

#if defined(__has_attribute)
#if __has_attribute(retain)
#define SUBLET_DETAIL_RETAIN , retain
#endif
#endif
#ifndef SUBLET_DETAIL_RETAIN
#define SUBLET_DETAIL_RETAIN
#endif

/// Writes the description down once more, in a section: there it is found too where a version
/// script hides the symbol. Without it the function would be taken for one in the rFaaS form.
#define SUBLET_DETAIL_DESCRIBE(name, ...)                                \
  SUBLET_EXPORT const sublet_function_info sublet_function_info_##name;  \
  const sublet_function_info sublet_function_info_##name = __VA_ARGS__;  \
  __attribute__((section("sublet_functions"), used,                      \
                 aligned(8) SUBLET_DETAIL_RETAIN)) static const struct { \
    sublet_function_info info;                                           \
    char function[sizeof(#name)];                                        \
  } sublet_description_##name = {__VA_ARGS__, #name}

/// Defines and exports a typed function of one input and one output of fixed size, the input by
/// value or by const reference (types with commas are fine: std::array<double, 3>):
/// SUBLET_FUNCTION(name, const In& in, Out& out) { ... }
#define SUBLET_FUNCTION(name, ...)                                                                \
  static void sublet_body_##name(__VA_ARGS__);                                                    \
  SUBLET_DETAIL_DESCRIBE(name,                                                                    \
                         ::sublet::detail::FixedSignature<decltype(&sublet_body_##name)>::kInfo); \
  SUBLET_EXPORT std::int32_t name(struct sublet_call* call);                                      \
  std::int32_t name(struct sublet_call* call) {                                                   \
    return ::sublet::detail::run_fixed(call, &sublet_body_##name);                                \
  }                                                                                               \
  static void sublet_body_##name(__VA_ARGS__)

/// Defines and exports a typed function that handles sizes itself:
/// SUBLET_CALL_FUNCTION(name, sublet::FunctionCall& call) { ... }
#define SUBLET_CALL_FUNCTION(name, parameter)                           \
  static void sublet_body_##name(parameter);                            \
  SUBLET_DETAIL_DESCRIBE(name, {SUBLET_FUNCTION_ABI_VERSION, 0, 0, 0}); \
  SUBLET_EXPORT std::int32_t name(struct sublet_call* call);            \
  std::int32_t name(struct sublet_call* call) {                         \
    return ::sublet::detail::run_typed(call, [&] {                      \
      ::sublet::FunctionCall wrapped(*call);                            \
      sublet_body_##name(wrapped);                                      \
    });                                                                 \
  }                                                                     \
  static void sublet_body_##name(parameter)
