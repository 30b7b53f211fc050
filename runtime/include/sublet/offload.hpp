#pragma once

// Loops of the program, shared out between the thread that runs them and the workers of a lease:
//
//   std::vector<Option> options = ...;
//   std::vector<double> prices(options.size());
//   auto report = sublet::offload_map(lease, sublet::in(options), sublet::out(prices),
//                                     [](const Option& option) { return price(option); });
//
// Parts of the range go to the workers, as large as the rates of both sides make them and smaller
// towards the end; meanwhile this thread computes parts of its own. A part whose worker is lost, or
// so slow at the end that this thread has it first, is computed again: **the body may run twice for
// an item**, on other memory or with the same result. Where workers take more of this thread's time
// than they save, it goes on alone and OffloadReport::why says so.
//
// The sizes follow guided self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers C-36,
// 1987) with the weights measured while the loop runs.

#include <sublet/call.hpp>
#include <sublet/detail/loop.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <sublet/single_source.hpp>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace sublet {

/// What a reduction came to, and how it was shared out.
template <class R>
struct Reduction {
  R value;
  OffloadReport report;
};

/// Calls body(first, last, args...) for parts [first, last) that make up [0, count), on workers and
/// on this thread; returns when all are done.
///
/// Of `sublet::in(a)` and `sublet::out(b)` the body gets the items of its part, as a std::span:
/// `a.size() / count` elements for each. `sublet::whole(c)` it gets as it is, like every other
/// argument. In memory of the lease's arena (Lease::buffer) nothing is copied; other memory is
/// copied for workers on this thread.
///
/// kInvalid: a size is not a multiple of `count`. The body's own failure on a worker ends the loop:
/// the error names it, and outputs are in part written. An exception on this thread passes through,
/// once no worker uses the memory any more. Loss of all workers is none: this thread does the rest.
///
/// Thread rule: the thread that uses the lease; nothing else uses it meanwhile.
template <class Body, class... Args>
Result<OffloadReport> offload_for(Lease& lease, const OffloadOptions& options, std::size_t count,
                                  const Body& body, const Args&... args) {
  detail::Loop<Body, detail::NoReduction, Args...> loop(lease, options, count, {}, body, args...);
  return loop.run();
}
template <class Body, class... Args>
Result<OffloadReport> offload_for(Lease& lease, std::size_t count, const Body& body,
                                  const Args&... args) {
  return offload_for(lease, OffloadOptions{}, count, body, args...);
}

/// As offload_for, with a body that returns a value: combine(so_far, value), from `initial` on,
/// makes one of all of them. In any order: sums of floating-point numbers differ in their last
/// digits from run to run.
template <class R, class Combine, class Body, class... Args>
Result<Reduction<R>> offload_reduce(Lease& lease, const OffloadOptions& options, std::size_t count,
                                    R initial, const Combine& combine, const Body& body,
                                    const Args&... args) {
  detail::Loop<Body, detail::Reducing<R, Combine>, Args...> loop(
      lease, options, count, {std::move(initial), combine}, body, args...);
  auto report = loop.run();
  if (!report) return tl::unexpected<Error>(std::move(report.error()));
  return Reduction<R>{std::move(loop.reduction().value), std::move(*report)};
}
template <class R, class Combine, class Body, class... Args>
Result<Reduction<R>> offload_reduce(Lease& lease, std::size_t count, R initial,
                                    const Combine& combine, const Body& body, const Args&... args) {
  return offload_reduce(lease, OffloadOptions{}, count, std::move(initial), combine, body, args...);
}

/// out[i] = f(in[i]) for all items. kInvalid: there are not as many of both.
template <class T, class U, class F>
Result<OffloadReport> offload_map(Lease& lease, const OffloadOptions& options, In<T> in, Out<U> out,
                                  const F& f) {
  if (in.memory.size() != out.memory.size()) {
    return fail(ErrorKind::kInvalid, "offload_map: there are " + std::to_string(in.memory.size()) +
                                         " items to read and " + std::to_string(out.memory.size()) +
                                         " to write: give it as many of both");
  }
  using Body = detail::MapBody<std::decay_t<decltype(detail::as_bare(f))>>;
  return offload_for(lease, options, in.memory.size(), Body{detail::as_bare(f)}, in, out);
}
template <class T, class U, class F>
Result<OffloadReport> offload_map(Lease& lease, In<T> in, Out<U> out, const F& f) {
  return offload_map(lease, OffloadOptions{}, in, out, f);
}

}  // namespace sublet
