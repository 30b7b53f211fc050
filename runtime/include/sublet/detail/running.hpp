#pragma once

// The worker's side of a call: what came is unpacked, called, and what it returned packed. Not for
// applications.

#include <sublet/detail/shape.hpp>
#include <sublet/function.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <tuple>
#include <type_traits>

namespace sublet::detail {

template <class F, class Args>
struct Running;

template <class F, class... A>
struct Running<F, Arguments<A...>> : Shape<F, Arguments<A...>> {
  using Base = Shape<F, Arguments<A...>>;
  using typename Base::Callable;
  using typename Base::Returned;
  using typename Base::Returns;
  static constexpr auto kCallableIsEmpty = Base::kCallableIsEmpty;
  static constexpr auto kDirectInput = Base::kDirectInput;
  static constexpr auto kDirectOutput = Base::kDirectOutput;
  static constexpr auto kFixedInput = Base::kFixedInput;
  static constexpr auto kInputBytes = Base::kInputBytes;
  static constexpr auto kFixedOutput = Base::kFixedOutput;

  static std::int32_t run(struct sublet_call* call) {
    return run_typed(call, [call] { run_call(FunctionCall(*call)); });
  }

 private:
  struct Frame {
    Held<F> callable;
    std::tuple<Held<A>...> arguments;
  };

  static void run_call(FunctionCall call) {
    const auto in = call.input<std::byte>();
    Frame frame;
    if constexpr (kFixedInput) {
      if (in.size() != kInputBytes) throw FunctionError("the input has another size than expected");
      read_fixed(frame, in.data());
    } else {
      read_all(frame, in, call.output_capacity());
    }
    if constexpr (kFixedOutput) {
      if constexpr (std::is_void_v<Returned>) {
        invoke(frame);
      } else {
        const Returns returned = invoke(frame);
        std::memcpy(call.output<std::byte>(sizeof(Returns)).data(),
                    static_cast<const void*>(&returned), sizeof(Returns));
      }
    } else {
      run_with_memory(frame, call);
    }
  }

  static decltype(auto) invoke(Frame& frame) {
    return std::apply(
        [&](auto&... held) -> decltype(auto) {
          return std::invoke(static_cast<Callable&>(frame.callable.given()), held.given()...);
        },
        frame.arguments);
  }

  static void read_fixed(Frame& frame, const std::byte* at) {
    if constexpr (!kCallableIsEmpty) {
      std::memcpy(frame.callable.bytes.bytes.data(), at, sizeof(F));
      at += sizeof(F);
    }
    std::apply(
        [&](auto&... held) {
          ((std::memcpy(held.bytes.bytes.data(), at, sizeof(held.bytes.bytes)),
            at += sizeof(held.bytes.bytes)),
           ...);
        },
        frame.arguments);
  }

  template <class V>
  static void read_one(Reader& reader, Held<V>& held) {
    if constexpr (IsIn<V>::value || IsOut<V>::value) {
      std::uint64_t count = 0;
      reader(count, held.place);
      held.count = static_cast<std::size_t>(count);
    } else {
      reader(held.given());
    }
  }

  static void read_all(Frame& frame, std::span<const std::byte> in, std::size_t out_capacity) {
    if constexpr (kDirectInput) {
      std::apply([&](auto&... held) { (read_direct(held, in, out_capacity), ...); },
                 frame.arguments);
      return;
    }
    Reader reader(in);
    if constexpr (!kCallableIsEmpty) reader(frame.callable.given());
    std::apply([&](auto&... held) { (read_one(reader, held), ...); }, frame.arguments);
    // In the arena, which the client has mapped at another address and the worker at this one.
    std::apply([&](auto&... held) { (use_in_place(held, in.data()), ...); }, frame.arguments);
    std::apply([&](auto&... held) { (read_memory(reader, held, in.size()), ...); },
               frame.arguments);
  }

  template <class V>
  static void read_direct(Held<V>& held, std::span<const std::byte> in, std::size_t out_capacity) {
    if constexpr (requires { held.copy; }) {
      using Element = std::remove_const_t<typename decltype(held.memory)::element_type>;
      held.count = (IsIn<V>::value ? in.size() : out_capacity) / sizeof(Element);
      if constexpr (IsIn<V>::value) held.lies_at(in.data());
    }
  }

  template <class V>
  static void use_in_place(Held<V>& held, const std::byte* input) {
    if constexpr (IsIn<V>::value || IsOut<V>::value) {
      if (held.place != 0) held.lies_at(const_cast<std::byte*>(input) + held.place);
    }
  }

  template <class V>
  static void read_memory(Reader& reader, Held<V>& held, std::size_t size) {
    if constexpr (IsIn<V>::value) {
      if (held.place != 0) return;
      using Element = std::remove_const_t<typename decltype(held.memory)::element_type>;
      const std::size_t at = size - reader.left();
      reader.take(Base::aligned(at) - at);
      if (held.count > reader.left() / sizeof(Element)) {
        throw FunctionError("what came ends too early");
      }
      held.lies_at(reader.take(held.count * sizeof(Element)));
    }
  }

  template <class V>
  static std::size_t place(FunctionCall& call, Held<V>& held, std::byte* out, std::size_t at) {
    if constexpr (IsOut<V>::value) {
      if (held.place != 0) return at;
      using Element = typename decltype(held.memory)::element_type;
      if (held.count > (call.output_capacity() - at) / sizeof(Element)) {
        throw FunctionError("an output is larger than the room for it");
      }
      held.lies_at(out + at);
      at += kDirectOutput ? held.count * sizeof(Element)
                          : Base::aligned(held.count * sizeof(Element));
    }
    return at;
  }

  static void run_with_memory(Frame& frame, FunctionCall& call) {
    std::byte* out = call.output<std::byte>(call.output_capacity()).data();
    std::size_t at = 0;
    std::apply([&](auto&... held) { ((at = place(call, held, out, at)), ...); }, frame.arguments);
    const auto leave = [&] {
      std::apply(
          [](auto&... held) {
            (([](auto& one) {
               if constexpr (requires { one.leave(); }) one.leave();
             })(held),
             ...);
          },
          frame.arguments);
    };
    if constexpr (std::is_void_v<Returned>) {
      invoke(frame);
      leave();
      (void)call.output<std::byte>(at);
    } else {
      const Returns returned = invoke(frame);
      leave();
      Writer counts;
      counts(returned);
      auto all = call.output<std::byte>(at + counts.size());  // throws OutputTooLarge
      Writer writer(all.subspan(at));
      writer(returned);
    }
  }
};

}  // namespace sublet::detail
