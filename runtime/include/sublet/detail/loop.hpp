#pragma once

// What offload_for does with a body: slices its arguments, calls it here, and makes calls of it for
// workers. Who gets which part is decided in the library. Not for applications.

#include <sublet/detail/calls.hpp>
#include <sublet/detail/spans.hpp>
#include <sublet/export.hpp>
#include <sublet/lease.hpp>
#include <sublet/offload_options.hpp>
#include <sublet/result.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sublet {

/// Memory that each part of a loop reads as a whole.
template <class T>
struct Whole {
  In<T> memory;
};
template <class Range>
[[nodiscard]] auto whole(const Range& range) {
  auto memory = in(range);
  return Whole<typename decltype(memory.memory)::value_type>{memory};
}

namespace detail {

/// A part of a loop on a worker. Owner: who shares the loop out.
class LoopPart {
 public:
  virtual ~LoopPart() = default;
  /// Takes what a call that ended well brought back.
  virtual Result<void> finish(const Reply& reply) = 0;
  /// It uses no memory of the application's: it can be left to itself.
  [[nodiscard]] virtual bool stands_alone() const noexcept = 0;
  Call call;
};

/// A loop for the one who shares it out: a virtual call for each part, none for an item.
class LoopBody {
 public:
  virtual ~LoopBody() = default;
  virtual void compute(std::size_t first, std::size_t count) = 0;
  /// A call on `worker`; null with the reason in `status` when it takes none. Throws
  /// std::bad_alloc when the arena is full.
  virtual std::unique_ptr<LoopPart> start(std::size_t worker, std::size_t first, std::size_t count,
                                          Status& status) = 0;
  /// A call ended so: it is the end of the loop.
  virtual void failed(Status /*status*/) noexcept {}
};

/// Runs a loop of `count` items to its end: client/shared_loop.hpp.
SUBLET_API Result<OffloadReport> share_out(Lease& lease, LoopBody& body, std::size_t count,
                                           const OffloadOptions& options);

struct NoReduction {};
template <class R, class Combine>
struct Reducing {
  R value;
  const Combine& combine;
};

/// The body of a loop as a worker calls it. It always returns something, so that outputs that are
/// not in the arena come back apart from the application's memory.
template <class Body>
struct PartBody {
  Body body;
  template <class... Given>
  auto operator()(std::size_t first, std::size_t last, Given&... given) const {
    if constexpr (std::is_void_v<
                      std::invoke_result_t<const Body&, std::size_t, std::size_t, Given&...>>) {
      std::invoke(body, first, last, given...);
      return std::byte{0};
    } else {
      return std::invoke(body, first, last, given...);
    }
  }
};

template <class F>
struct MapBody {
  F f;
  template <class T, class U>
  void operator()(std::size_t /*first*/, std::size_t /*last*/, std::span<const T> in,
                  std::span<U> out) const {
    for (std::size_t i = 0; i < in.size(); ++i) out[i] = std::invoke(f, in[i]);
  }
};

/// An argument of a loop: which items of it belong to a part, and what a body here is given.
template <class A>
struct LoopArgument {
  using Sliced = A;
  static bool fits(const A& /*argument*/, std::size_t /*count*/) noexcept { return true; }
  static const A& slice(const A& argument, std::size_t /*first*/, std::size_t /*count*/,
                        std::size_t /*total*/) noexcept {
    return argument;
  }
  static const A& given(const A& sliced) noexcept { return sliced; }
};
template <class Named>
struct SlicedArgument {
  using Sliced = Named;
  static bool fits(const Named& argument, std::size_t count) noexcept {
    return count == 0 ? argument.memory.empty() : argument.memory.size() % count == 0;
  }
  static Named slice(const Named& argument, std::size_t first, std::size_t count,
                     std::size_t total) noexcept {
    const std::size_t each = argument.memory.size() / total;
    return {argument.memory.subspan(first * each, count * each)};
  }
  static auto given(const Named& sliced) noexcept { return sliced.memory; }
};
template <class T>
struct LoopArgument<In<T>> : SlicedArgument<In<T>> {};
template <class T>
struct LoopArgument<Out<T>> : SlicedArgument<Out<T>> {};
template <class T>
struct LoopArgument<Whole<T>> {
  using Sliced = In<T>;
  static bool fits(const Whole<T>& /*argument*/, std::size_t /*count*/) noexcept { return true; }
  static In<T> slice(const Whole<T>& argument, std::size_t /*first*/, std::size_t /*count*/,
                     std::size_t /*total*/) noexcept {
    return argument.memory;
  }
  static auto given(const In<T>& sliced) noexcept { return sliced.memory; }
};

template <class Body, class Reduce, class... Args>
class Loop final : private LoopBody {
  using Bare = std::decay_t<decltype(as_bare(std::declval<const Body&>()))>;
  using T = TargetOf<PartBody<Bare>, std::size_t, std::size_t,
                     typename LoopArgument<std::decay_t<Args>>::Sliced...>;
  static constexpr bool kReduces = !std::is_same_v<Reduce, NoReduction>;

 public:
  Loop(Lease& lease, const OffloadOptions& options, std::size_t count, Reduce reduce,
       const Body& body, const Args&... args)
      : lease_(lease),
        options_(options),
        count_(count),
        body_{as_bare(body)},
        args_(args...),
        reduce_(std::move(reduce)) {
    options_.function.idempotent = false;
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Result<OffloadReport> run() {
    const bool fits = std::apply(
        [&](const auto&... arg) {
          return (LoopArgument<std::decay_t<decltype(arg)>>::fits(arg, count_) && ... && true);
        },
        args_);
    if (!fits) {
      return fail(ErrorKind::kInvalid,
                  "offload_for: memory of an argument has no whole number of elements for each of "
                  "the " +
                      std::to_string(count_) +
                      " items; name memory that every part reads as sublet::whole(...)");
    }
    auto function = SingleSource::open(lease_, record_of<T>(), options_.function);
    if (!function) return tl::unexpected<Error>(function.error());
    function_ = *function;
    return share_out(lease_, *this, count_, options_);
  }

  [[nodiscard]] Reduce& reduction() noexcept { return reduce_; }

 private:
  class Part final : public LoopPart {
   public:
    Part(Loop& loop, typename T::Values values)
        : loop_(loop),
          values_(std::move(values)),
          payload_(loop.lease_, loop.body_, values_, loop.options_.function.result_bytes) {}
    ~Part() override { call = Call(); }  // before the memory that it uses
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    Status submit(std::size_t worker) noexcept {
      return SingleSource::try_async(loop_.function_, worker, payload_.in(), payload_.in_size(),
                                     payload_.out(), payload_.out_size(), payload_.by_reference(),
                                     call);
    }
    Result<void> finish(const Reply& reply) override {
      auto returned = detail::finish<T>(reply, payload_.out(), values_, payload_.places());
      if (!returned) return tl::unexpected<Error>(std::move(returned.error()));
      if constexpr (kReduces) loop_.add(std::move(*returned));
      return {};
    }
    [[nodiscard]] bool stands_alone() const noexcept override {
      return !payload_.by_reference() && !T::kDirectInput && !T::kDirectOutput;
    }

   private:
    Loop& loop_;
    typename T::Values values_;
    Payload<T> payload_;
  };

  /// What a part of the loop has as its arguments.
  auto sliced(std::size_t first, std::size_t count) const {
    return std::apply(
        [&](const auto&... arg) {
          return std::tuple<typename LoopArgument<std::decay_t<Args>>::Sliced...>(
              LoopArgument<std::decay_t<Args>>::slice(arg, first, count, count_)...);
        },
        args_);
  }

  void compute(std::size_t first, std::size_t count) override {
    std::apply(
        [&](const auto&... slice) {
          const auto call = [&](auto... given) -> decltype(auto) {
            return std::invoke(body_.body, first, first + count, given...);
          };
          if constexpr (kReduces) {
            add(call(LoopArgument<std::decay_t<Args>>::given(slice)...));
          } else {
            call(LoopArgument<std::decay_t<Args>>::given(slice)...);
          }
        },
        sliced(first, count));
  }

  std::unique_ptr<LoopPart> start(std::size_t worker, std::size_t first, std::size_t count,
                                  Status& status) override {
    auto part = std::make_unique<Part>(
        *this, std::tuple_cat(std::tuple(first, first + count), sliced(first, count)));
    status = part->submit(worker);
    if (status != Status::kOk) return nullptr;
    return part;
  }

  template <class Value>
  void add(Value&& value) {
    reduce_.value =
        std::invoke(reduce_.combine, std::move(reduce_.value), std::forward<Value>(value));
  }

  Lease& lease_;
  OffloadOptions options_;
  std::size_t count_;
  PartBody<Bare> body_;
  std::tuple<std::decay_t<Args>...> args_;
  Reduce reduce_;
  Function function_;
};

}  // namespace detail
}  // namespace sublet
