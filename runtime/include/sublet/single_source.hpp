#pragma once

// Functions of the program itself on workers, from one source:
//
//   int main(int argc, char** argv) {
//     sublet::init(argc, argv);  // first of all, before MPI_Init
//     auto session = sublet::Session::open().value_or_throw();
//     auto lease = session.lease().value_or_throw();
//     const double scale = 2;
//     double y = lease.call([scale](double x) { return scale * x; }, 21.0).value_or_throw();
//   }
//
// The executors of the lease run this same program, without its main(). What is called (a lambda
// with its captures, a function object, a free function) and its arguments are copied there, and
// the result comes back: archive.hpp says what can be. Memory goes as sublet::in(span), which the
// function takes as std::span<const T>, and sublet::out(span), as std::span<T>; what an output held
// before does not travel. A reference or a pointer among the captures means nothing there.

#include <sublet/archive.hpp>
#include <sublet/buffer.hpp>
#include <sublet/call.hpp>
#include <sublet/detail/calls.hpp>
#include <sublet/export.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>

#include <chrono>
#include <memory>
#include <utility>

namespace sublet {

/// Lets this program's own functions be called on workers. The first line of main(): executors do
/// without main(), and what comes before is done in the client alone. Throws Error when it comes
/// too late (after MPI_Init), or two functions of the program have one name.
SUBLET_API void init(int argc, char** argv);

/// A call of a function of this program under way. A handle: move it. Memory of its arguments that
/// sublet::in and sublet::out name stays valid until it has ended. Thread rule: as for Call.
template <class Returned>
class [[nodiscard]] Async {
 public:
  Async() = default;

  /// True when the call has ended. Never blocks.
  [[nodiscard]] bool poll() noexcept { return !state_ || state_->call.poll(); }
  /// True when it has ended within `limit`.
  bool wait_for(std::chrono::nanoseconds limit) noexcept {
    return !state_ || state_->call.wait_for(limit).status != Status::kDeadline;
  }
  /// Waits for the end; what the function returned, or why it did not. Once: it is empty then.
  Result<Returned> get() {
    if (!state_) return fail(ErrorKind::kInvalid, "this sublet::Async is empty");
    const std::unique_ptr<State> state = std::move(state_);
    return state->get();
  }
  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

  // For Lease::async.
  struct State {
    virtual ~State() = default;
    virtual Result<Returned> get() = 0;
    Call call;
  };
  explicit Async(std::unique_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::unique_ptr<State> state_;
};

namespace detail {

template <class T>
struct AsyncState final : Async<typename T::Returned>::State {
  AsyncState(Lease& lease, const typename T::Bare& f, const typename T::Values& arguments,
             std::size_t result_bytes)
      : values(arguments), payload(lease, f, values, result_bytes) {}
  ~AsyncState() override { this->call = Call(); }  // before the memory that it uses
  ResultOf<T> get() override {
    const Reply reply = this->call.wait();
    if (!reply.ok()) return failed<T>(reply, this->call.error());
    return finish<T>(reply, payload.out(), values, payload.places());
  }
  typename T::Values values;
  Payload<T> payload;
};

template <class T>
Result<Async<typename T::Returned>> start(Lease& lease, const typename T::Bare& f,
                                          const typename T::Values& values,
                                          const FunctionOptions& options = {}) {
  auto function = SingleSource::open(lease, record_of<T>(), options);
  if (!function) return tl::unexpected<Error>(function.error());
  try {
    auto state = std::make_unique<AsyncState<T>>(lease, f, values, options.result_bytes);
    state->call = SingleSource::async(*function, state->payload.in(), state->payload.in_size(),
                                      state->payload.out(), state->payload.out_size(),
                                      state->payload.by_reference());
    return Async<typename T::Returned>(std::move(state));
  } catch (const std::bad_alloc&) {
    return full<T>(lease);
  }
}

}  // namespace detail

/// A free function of this program in a lease, with options.
template <auto F>
class OwnFunction {
 public:
  OwnFunction(Lease lease, FunctionOptions options) : lease_(std::move(lease)), options_(options) {}

  template <class... Args>
  auto operator()(const Args&... args)
      -> detail::ResultOf<detail::TargetOf<detail::Constant<F>, Args...>> {
    using T = detail::TargetOf<detail::Constant<F>, Args...>;
    const typename T::Values values(detail::as_value(args)...);
    return detail::call_any<T>(lease_, {}, values, options_);
  }

  template <class... Args>
  auto async(const Args&... args) {
    using T = detail::TargetOf<detail::Constant<F>, Args...>;
    return detail::start<T>(lease_, {}, typename T::Values(detail::as_value(args)...), options_);
  }

 private:
  Lease lease_;
  FunctionOptions options_;
};

/// Calls of functions of this program with options: what Lease::with gives.
class CallsWithOptions {
 public:
  CallsWithOptions(Lease lease, FunctionOptions options)
      : lease_(std::move(lease)), options_(options) {}

  /// As Lease::call and Lease::async.
  template <class F, class... Args>
  auto call(const F& f, const Args&... args) {
    using T = detail::TargetOf<F, Args...>;
    const typename T::Values values(detail::as_value(args)...);
    return detail::call_any<T>(lease_, detail::as_bare(f), values, options_);
  }
  template <class F, class... Args>
  auto async(const F& f, const Args&... args) {
    using T = detail::TargetOf<F, Args...>;
    return detail::start<T>(lease_, detail::as_bare(f),
                            typename T::Values(detail::as_value(args)...), options_);
  }

 private:
  Lease lease_;
  FunctionOptions options_;
};

inline CallsWithOptions Lease::with(FunctionOptions options) const {
  return {*this, options};
}

template <class F, class... Args>
auto Lease::call(const F& f, const Args&... args) {
  using T = detail::TargetOf<F, Args...>;
  const typename T::Values values(detail::as_value(args)...);
  if constexpr (T::kFixedInput && T::kFixedOutput) {
    return detail::call_fixed<T>(*this, detail::as_bare(f), values);
  } else {
    return detail::call_any<T>(*this, detail::as_bare(f), values);
  }
}

template <class F, class... Args>
auto Lease::async(const F& f, const Args&... args) {
  using T = detail::TargetOf<F, Args...>;
  return detail::start<T>(*this, detail::as_bare(f), typename T::Values(detail::as_value(args)...));
}

template <auto F>
auto Lease::function(FunctionOptions options) {
  return OwnFunction<F>(*this, options);
}

}  // namespace sublet
