#pragma once

// The client's side of a call: what is sent, and what becomes of the reply. Not for applications.

#include <sublet/detail/shape.hpp>
#include <sublet/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <tuple>
#include <type_traits>

namespace sublet::detail {

template <class F, class Args>
struct Packing;

template <class F, class... A>
struct Packing<F, Arguments<A...>> : Shape<F, Arguments<A...>> {
  using Base = Shape<F, Arguments<A...>>;
  using typename Base::Places;
  using typename Base::Returned;
  using typename Base::Returns;
  using typename Base::Values;
  static constexpr auto kCallableIsEmpty = Base::kCallableIsEmpty;
  static constexpr auto kDirectInput = Base::kDirectInput;
  static constexpr auto kDirectOutput = Base::kDirectOutput;
  static constexpr auto kFixedOutput = Base::kFixedOutput;
  static constexpr auto kOutputBytes = Base::kOutputBytes;
  static constexpr auto kAlign = Base::kAlign;

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
      Base::for_each(values, [&](const auto& value, std::size_t) {
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
      Base::for_each(values, [&](const auto& value, std::size_t) {
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
    Base::for_each(values, [&](const auto& value, std::size_t i) {
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
  static void write(std::span<std::byte> memory, const F& f, const Values& values, Places& places) {
    for (std::intptr_t& place : places) {
      if (place != 0) place -= reinterpret_cast<std::intptr_t>(memory.data());
    }
    Writer writer(memory);
    write_all(writer, f, values, places);
  }

  static std::size_t output_room(const Values& values, const Places& places,
                                 std::size_t result_bytes) noexcept {
    if constexpr (kFixedOutput) return kOutputBytes;
    std::size_t room = 0;
    if constexpr (!std::is_void_v<Returned>) {
      room = kIsBytes<Returns> ? Base::aligned(sizeof(Returns)) : result_bytes;
    }
    Base::for_each(values, [&](const auto& value, std::size_t i) {
      if constexpr (IsOut<std::decay_t<decltype(value)>>::value) {
        if (places[i] == 0) room += Base::aligned(value.memory.size_bytes());
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
    Base::for_each(values, [&](const auto& value, std::size_t i) {
      if constexpr (IsOut<std::decay_t<decltype(value)>>::value) {
        if (places[i] != 0) return;
        const std::size_t size = value.memory.size_bytes();
        const std::byte* bytes = reader.take(Base::aligned(size));
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

 private:
  static void write_all(Writer& writer, const F& f, const Values& values, const Places& places) {
    if constexpr (kDirectInput) {
      writer.bytes(direct_input(values).data(), direct_input(values).size());
      // Sizes of outputs are their capacity.
      return;
    }
    if constexpr (!kCallableIsEmpty) writer(f);
    Base::for_each(values, [&](const auto& value, std::size_t i) {
      using V = std::decay_t<decltype(value)>;
      if constexpr (IsIn<V>::value || IsOut<V>::value) {
        writer(std::uint64_t{value.memory.size()}, std::int64_t{places[i]});
      } else {
        writer(value);
      }
    });
    Base::for_each(values, [&](const auto& value, std::size_t i) {
      if constexpr (IsIn<std::decay_t<decltype(value)>>::value) {
        if (places[i] != 0) return;
        static constexpr std::array<std::byte, kAlign> kPadding{};
        writer.bytes(kPadding.data(), Base::aligned(writer.size()) - writer.size());
        writer.bytes(value.memory.data(), value.memory.size_bytes());
      }
    });
  }
};

}  // namespace sublet::detail
