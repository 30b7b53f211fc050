#pragma once

// What one instantiation of Lease::call leaves in the program: how its callable and arguments are
// packed, the function that unpacks and calls them on the worker, and its record. Not for
// applications.

#include <sublet/archive.hpp>
#include <sublet/export.hpp>
#include <sublet/function.hpp>
#include <sublet/function_record.h>
#include <sublet/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#ifndef __cpp_rtti
#error "Sublet tells the functions of a program apart by typeid: compile without -fno-rtti"
#endif

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
  static_assert(!std::is_const_v<T>, "sublet::out names memory that the function writes: not const");
  return Out<T>{std::span<T>(memory.data(), memory.size())};
}

namespace detail {

/// Links a record into the list of this program's functions.
class SUBLET_API Registration {
 public:
  explicit Registration(sublet_function_record& record) noexcept;
};

template <class T>
struct IsIn : std::false_type {};
template <class T>
struct IsIn<In<T>> : std::true_type {};
template <class T>
struct IsOut : std::false_type {};
template <class T>
struct IsOut<Out<T>> : std::true_type {};

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
    return reinterpret_cast<Pointer>(reinterpret_cast<std::intptr_t>(&anchor) + distance)(
        std::forward<A>(args)...);
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
  static_assert(std::is_void_v<Type> || !IsView<Type>::value,
                "sublet: the function returns a pointer, a reference or a view, which means nothing "
                "here: return a value");
  static_assert(std::is_void_v<Type> || IsView<Type>::value || travels<Type>(),
                "sublet: what the function returns does not travel: it is not trivially copyable. "
                "Make it so, or write template <class Archive> void serialize(Archive&, Type&) "
                "beside it (sublet/archive.hpp)");
  static constexpr bool kDone = true;
};

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

template <class... A>
struct Arguments {};

/// Memory for a value that need not have a default constructor: its bytes are it.
template <class T>
struct Bytes {
  alignas(T) std::array<std::byte, sizeof(T)> bytes;
  [[nodiscard]] T& value() noexcept { return *std::launder(reinterpret_cast<T*>(bytes.data())); }
};

template <class F, class Args>
struct Target;

template <class F, class... A>
struct Target<F, Arguments<A...>> {
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
  static constexpr bool kFixedInput =
      !kHasSpans && (kIsBytes<F> && ... && kIsBytes<A>);
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

  /// For results whose size the function decides.
  static constexpr std::size_t kReplyRoom = std::size_t{64} << 10;
  /// Packed memory begins at such a multiple within the input.
  static constexpr std::size_t kAlign = 16;

  /// For each span that the worker uses where it lies: that place, and once the input has one, the
  /// distance from it. Zero: it is packed.
  using Places = std::array<std::intptr_t, sizeof...(A)>;

  // ---- The client's side ----

  template <std::size_t N>
  static void pack(std::array<std::byte, N>& memory, const F& f, const Values& values) noexcept {
    pack(std::span<std::byte>(memory), f, values);
  }
  static void pack(std::span<std::byte> memory, const F& f, const Values& values) noexcept {
    std::byte* at = memory.data();
    if constexpr (!kCallableIsEmpty) {
      std::memcpy(at, static_cast<const void*>(&f), sizeof(F));
      at += sizeof(F);
    }
    std::apply(
        [&](const auto&... value) {
          ((std::memcpy(at, static_cast<const void*>(&value), sizeof(value)), at += sizeof(value)),
           ...);
        },
        values);
  }

  static std::span<const std::byte> direct_input(const Values& values) noexcept {
    std::span<const std::byte> found;
    if constexpr (kDirectInput) {
      for_each(values, [&](const auto& value, std::size_t) {
        if constexpr (IsIn<std::decay_t<decltype(value)>>::value) {
          found = std::as_bytes(value.memory);
        }
      });
    }
    return found;
  }
  static std::span<std::byte> direct_output(const Values& values) noexcept {
    std::span<std::byte> found;
    if constexpr (kDirectOutput) {
      for_each(values, [&](const auto& value, std::size_t) {
        if constexpr (IsOut<std::decay_t<decltype(value)>>::value) {
          found = std::as_writable_bytes(value.memory);
        }
      });
    }
    return found;
  }

  /// Notes the spans that `is_seen` by the workers; true when there is one.
  template <class IsSeen>
  static bool mark(Places& places, const Values& values, IsSeen&& is_seen) {
    bool any = false;
    for_each(values, [&](const auto& value, std::size_t i) {
      using V = std::decay_t<decltype(value)>;
      if constexpr (IsIn<V>::value || (IsOut<V>::value && !kDirectOutput)) {
        if (value.memory.empty() || !is_seen(value.memory)) return;
        places[i] = reinterpret_cast<std::intptr_t>(value.memory.data());
        any = true;
      }
    });
    return any;
  }
  static std::size_t measure(const F& f, const Values& values, const Places& places) {
    Writer counts;
    write_all(counts, f, values, places);
    return counts.size();
  }
  /// Makes `places` relative to `memory`.
  static void write(std::span<std::byte> memory, const F& f, const Values& values,
                    Places& places) {
    for (std::intptr_t& place : places) {
      if (place != 0) place -= reinterpret_cast<std::intptr_t>(memory.data());
    }
    Writer writer(memory);
    write_all(writer, f, values, places);
  }

  static std::size_t output_room(const Values& values, const Places& places) noexcept {
    if constexpr (kFixedOutput) return kOutputBytes;
    std::size_t room = 0;
    if constexpr (!std::is_void_v<Returned>) {
      room = kIsBytes<Returns> ? aligned(sizeof(Returns)) : kReplyRoom;
    }
    for_each(values, [&](const auto& value, std::size_t i) {
      if constexpr (IsOut<std::decay_t<decltype(value)>>::value) {
        if (places[i] == 0) room += aligned(value.memory.size_bytes());
      }
    });
    return room;
  }

  static Result<Returned> unpack_fixed(const std::byte* from) noexcept {
    if constexpr (std::is_void_v<Returned>) {
      return {};
    } else {
      Bytes<Returns> returned;
      std::memcpy(returned.bytes.data(), from, sizeof(Returns));
      return returned.value();
    }
  }

  static Result<Returned> unpack(std::span<const std::byte> from, const Values& values,
                                 const Places& places) {
    if constexpr (kDirectOutput) return {};
    Reader reader(from);
    // Memory first: the result's size is not known.
    for_each(values, [&](const auto& value, std::size_t i) {
      if constexpr (IsOut<std::decay_t<decltype(value)>>::value) {
        if (places[i] != 0) return;
        const std::size_t size = value.memory.size_bytes();
        const std::byte* bytes = reader.take(aligned(size));
        if (size != 0) std::memcpy(value.memory.data(), bytes, size);
      }
    });
    if constexpr (std::is_void_v<Returned>) {
      return {};
    } else if constexpr (kIsBytes<Returns>) {
      return unpack_fixed(reader.take(sizeof(Returns)));
    } else {
      Returned returned{};
      reader(returned);
      return returned;
    }
  }

  // ---- The worker's side ----

  static std::int32_t run(struct sublet_call* call) {
    return run_typed(call, [call] { run_call(FunctionCall(*call)); });
  }

 private:
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

  static void write_all(Writer& writer, const F& f, const Values& values, const Places& places) {
    if constexpr (kDirectInput) {
      writer.bytes(direct_input(values).data(), direct_input(values).size());
      // Sizes of outputs are their capacity.
      return;
    }
    if constexpr (!kCallableIsEmpty) writer(f);
    for_each(values, [&](const auto& value, std::size_t i) {
      using V = std::decay_t<decltype(value)>;
      if constexpr (IsIn<V>::value || IsOut<V>::value) {
        writer(std::uint64_t{value.memory.size()}, std::int64_t{places[i]});
      } else {
        writer(value);
      }
    });
    for_each(values, [&](const auto& value, std::size_t i) {
      if constexpr (IsIn<std::decay_t<decltype(value)>>::value) {
        if (places[i] != 0) return;
        static constexpr std::array<std::byte, kAlign> kPadding{};
        writer.bytes(kPadding.data(), aligned(writer.size()) - writer.size());
        writer.bytes(value.memory.data(), value.memory.size_bytes());
      }
    });
  }

  /// An argument on the worker: the value, or the memory of a span.
  template <class V>
  struct Held {
    V value{};
    typename Given<V>::Type& given() noexcept { return value; }
  };
  template <class V>
    requires(kIsBytes<V> && !IsIn<V>::value && !IsOut<V>::value)
  struct Held<V> {
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

  using Held_ = std::tuple<Held<A>...>;

  struct Frame {
    Held<F> callable;
    Held_ arguments;
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
      reader.take(aligned(at) - at);
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
      at += kDirectOutput ? held.count * sizeof(Element) : aligned(held.count * sizeof(Element));
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

template <class F, class... A>
using TargetOf = Target<std::decay_t<decltype(as_bare(std::declval<const F&>()))>,
                        Arguments<std::decay_t<A>...>>;

/// The record of an instantiation that the program calls: made before main(), in the program and in
/// its executors.
template <class T>
struct Recorded {
  static sublet_function_record record;
  static const Registration registration;
  static sublet_function_record& named() noexcept {
    record.name = typeid(T).name();
    return record;
  }
};
template <class T>
constinit sublet_function_record Recorded<T>::record = {SUBLET_FUNCTION_RECORD_VERSION,
                                                        0,
                                                        nullptr,
                                                        T::kFixedInput ? T::kInputBytes : 0,
                                                        T::kFixedOutput ? T::kOutputBytes : 0,
                                                        &T::run,
                                                        nullptr};
template <class T>
const Registration Recorded<T>::registration{Recorded<T>::named()};

template <class T>
const sublet_function_record& record_of() {
  // Naming it is what makes the compiler emit it, and its constructor what keeps it in the program.
  (void)&Recorded<T>::registration;
  return Recorded<T>::record;
}

}  // namespace detail
}  // namespace sublet
