#pragma once

// What one instantiation of Lease::call leaves in the program: how its callable and arguments are
// packed, the function that unpacks and calls them on the worker, and its record. Not for
// applications.

#include <sublet/detail/packing.hpp>
#include <sublet/detail/running.hpp>
#include <sublet/export.hpp>
#include <sublet/function_record.h>

#include <cstdint>
#include <type_traits>
#include <typeinfo>
#include <utility>

#ifndef __cpp_rtti
#error "Sublet tells the functions of a program apart by typeid: compile without -fno-rtti"
#endif

namespace sublet::detail {

/// Links a record into the list of this program's functions.
class SUBLET_API Registration {
 public:
  explicit Registration(sublet_function_record& record) noexcept;
};

template <class F, class Args>
struct Target : Packing<F, Args> {
  static std::int32_t run(struct sublet_call* call) { return Running<F, Args>::run(call); }
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
constinit sublet_function_record Recorded<T>::record = {
    SUBLET_FUNCTION_RECORD_VERSION,        0,       nullptr, T::kFixedInput ? T::kInputBytes : 0,
    T::kFixedOutput ? T::kOutputBytes : 0, &T::run, nullptr};
template <class T>
const Registration Recorded<T>::registration{Recorded<T>::named()};

template <class T>
const sublet_function_record& record_of() {
  // Naming it is what makes the compiler emit it, and its constructor what keeps it in the program.
  (void)&Recorded<T>::registration;
  return Recorded<T>::record;
}

}  // namespace sublet::detail
