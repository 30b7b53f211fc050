#pragma once

// What Lease::call does: finds the function once, packs, calls and unpacks. Not for applications.

#include <sublet/buffer.hpp>
#include <sublet/call.hpp>
#include <sublet/detail/target.hpp>
#include <sublet/export.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>

namespace sublet::detail {

/// What the templates below need of a lease.
class SUBLET_API SingleSource {
 public:
  /// Finds the function in the executors of the lease. Blocks the first time.
  static Result<Function> open(Lease& lease, const sublet_function_record& record,
                               FunctionOptions options);
  static std::uint16_t index_of(const Function& function) noexcept { return function.index_; }
  static Reply call(client::LeaseImpl& lease, std::uint16_t index, const void* in,
                    std::size_t in_size, void* out, std::size_t out_capacity) noexcept;
  static Call async(Function& function, const void* in, std::size_t in_size, void* out,
                    std::size_t out_capacity, bool by_reference) noexcept;
  static Status try_async(Function& function, std::size_t worker, const void* in,
                          std::size_t in_size, void* out, std::size_t out_capacity,
                          bool by_reference, Call& call) noexcept;
  /// The workers see this memory where it lies.
  static bool sees(const Lease& lease, const void* memory, std::size_t size) noexcept;
  static std::string last_error(client::LeaseImpl& lease);
  static client::LeaseImpl* impl_of(const Lease& lease) noexcept { return lease.impl_.get(); }
  static std::uint64_t serial_of(const Lease& lease) noexcept { return lease.serial_; }
};

/// A function's number in the lease that called it last from this thread.
struct Binding {
  client::LeaseImpl* lease = nullptr;
  std::uint64_t serial = 0;
  std::uint16_t index = 0;

  [[nodiscard]] bool fits(const Lease& other) const noexcept {
    return SingleSource::serial_of(other) == serial && SingleSource::impl_of(other) == lease &&
           lease != nullptr;
  }
};

/// Off the hot path: the first call of a function in a lease.
template <class T>
[[gnu::noinline]] Result<void> bind(Binding& binding, Lease& lease) {
  auto function = SingleSource::open(lease, record_of<T>(), {});
  if (!function) return tl::unexpected<Error>(function.error());
  binding = {SingleSource::impl_of(lease), SingleSource::serial_of(lease),
             SingleSource::index_of(*function)};
  return {};
}

/// The memory of one call: what goes out and what comes back. Small ones need none of the arena.
template <class T>
class Payload {
 public:
  static constexpr std::size_t kSmall = 256;
  /// Less travels beside the arena, and what it names is no distance from it then.
  static constexpr std::size_t kLeastInArena = 64;

  /// Throws std::bad_alloc when the arena is full.
  Payload(Lease& lease, const typename T::Bare& f, const typename T::Values& values,
          std::size_t result_bytes) {
    if constexpr (T::kFixedInput) {
      T::pack(std::span(small_in_), f, values);
      in_ = small_in_.data();
      in_size_ = T::kInputBytes;
    } else if (const auto direct = T::direct_input(values); direct.data() != nullptr) {
      in_ = direct.data();
      in_size_ = direct.size();
    } else {
      by_reference_ = T::mark(places_, values, [&lease](const auto& span) {
        return SingleSource::sees(lease, span.data(), span.size_bytes());
      });
      in_size_ = T::measure(f, values, places_);
      std::span<std::byte> memory(small_in_.data(), small_in_.size());
      if (by_reference_) in_size_ = std::max(in_size_, kLeastInArena);
      if (in_size_ > small_in_.size() || by_reference_) {
        large_in_ = Buffer<std::byte>(lease.arena(), in_size_);
        memory = large_in_.span();
      }
      T::write(memory, f, values, places_);
      in_ = memory.data();
    }
    if (const auto direct = T::direct_output(values); direct.data() != nullptr) {
      out_ = direct.data();
      out_size_ = direct.size();
      return;
    }
    out_size_ = T::output_room(values, places_, result_bytes);
    out_ = small_out_.data();
    if (out_size_ > small_out_.size()) {
      large_out_ = Buffer<std::byte>(lease.arena(), out_size_);
      out_ = large_out_.data();
    }
  }
  Payload(const Payload&) = delete;
  Payload& operator=(const Payload&) = delete;

  [[nodiscard]] const void* in() const noexcept { return in_; }
  [[nodiscard]] std::size_t in_size() const noexcept { return in_size_; }
  [[nodiscard]] void* out() noexcept { return out_; }
  [[nodiscard]] std::size_t out_size() const noexcept { return out_size_; }
  [[nodiscard]] bool by_reference() const noexcept { return by_reference_; }
  [[nodiscard]] const typename T::Places& places() const noexcept { return places_; }

 private:
  std::array<std::byte, T::kFixedInput ? (T::kInputBytes > 0 ? T::kInputBytes : 1) : kSmall>
      small_in_;
  std::array<std::byte, T::kFixedOutput ? (T::kOutputBytes > 0 ? T::kOutputBytes : 1) : kSmall>
      small_out_;
  Buffer<std::byte> large_in_;
  Buffer<std::byte> large_out_;
  const void* in_ = nullptr;
  std::size_t in_size_ = 0;
  void* out_ = nullptr;
  std::size_t out_size_ = 0;
  typename T::Places places_{};
  bool by_reference_ = false;
};

template <class T>
[[gnu::noinline]] tl::unexpected<Error> full(Lease& lease) {
  (void)lease;
  return fail(
      ErrorKind::kOverloaded,
      "there is no room in the lease's arena for the arguments of a call; ask for more with "
      "LeaseRequest::arena_bytes");
}

template <class T>
using ResultOf = Result<typename T::Returned>;

template <class T>
[[gnu::noinline]] ResultOf<T> failed(const Reply& reply, const std::string& why) {
  return fail(kind_of(reply.status), why);
}

/// What the function returned, from a reply that ended well.
template <class T>
ResultOf<T> finish(const Reply& reply, const void* out, const typename T::Values& values,
                   const typename T::Places& places) {
  try {
    return T::unpack({static_cast<const std::byte*>(out), static_cast<std::size_t>(reply.size)},
                     values, places);
  } catch (const FunctionError&) {
    return fail(ErrorKind::kInternal, "a worker's reply has another form than its function");
  }
}

/// HOT PATH of functions whose captures, arguments and result are plain bytes: no allocation, lock
/// or system call once the function is bound.
template <class T>
ResultOf<T> call_fixed(Lease& lease, const typename T::Bare& f, const typename T::Values& values) {
  thread_local constinit Binding binding;
  if (!binding.fits(lease)) [[unlikely]] {
    if (auto bound = bind<T>(binding, lease); !bound) {
      return tl::unexpected<Error>(bound.error());
    }
  }
  std::array<std::byte, T::kInputBytes + 1> in;  // a size of its own, also of nothing
  T::pack(in, f, values);
  std::array<std::byte, T::kOutputBytes + 1> out;
  const Reply reply = SingleSource::call(*binding.lease, binding.index, in.data(), T::kInputBytes,
                                         out.data(), T::kOutputBytes);
  if (!reply.ok() || reply.size != T::kOutputBytes) [[unlikely]] {
    return failed<T>(reply, SingleSource::last_error(*binding.lease));
  }
  return T::unpack_fixed(out.data());
}

template <class T>
ResultOf<T> call_any(Lease& lease, const typename T::Bare& f, const typename T::Values& values,
                     FunctionOptions options = {}) {
  auto function = SingleSource::open(lease, record_of<T>(), options);
  if (!function) return tl::unexpected<Error>(function.error());
  try {
    Payload<T> payload(lease, f, values, options.result_bytes);
    Call call = SingleSource::async(*function, payload.in(), payload.in_size(), payload.out(),
                                    payload.out_size(), payload.by_reference());
    const Reply reply = call.wait();
    if (!reply.ok()) return failed<T>(reply, call.error());
    call = Call();
    return finish<T>(reply, payload.out(), values, payload.places());
  } catch (const std::bad_alloc&) {
    return full<T>(lease);
  }
}

}  // namespace sublet::detail
