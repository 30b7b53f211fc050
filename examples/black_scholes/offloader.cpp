#include "offloader.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace black_scholes {
namespace {

/// Chunks in flight for each worker: one being priced, the others waiting so that it never does.
constexpr std::size_t kChunksPerWorker = 4;

/// The rank looks after its workers each time it has priced so many options itself (0.1 ms or so).
constexpr std::size_t kOwnPiece = 512;

/// With more busy threads than cores a call can take a scheduler's slice.
constexpr auto kSingleCallsLimit = std::chrono::milliseconds(500);

double seconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

float microseconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<float, std::micro>(d).count();
}

}  // namespace

Offloader::Offloader(sublet::Lease& lease, std::size_t chunk)
    : price_(
          lease.function(pricing_library(), "price_batch", {.idempotent = true}).value_or_throw()),
      chunk_(chunk),
      window_(kChunksPerWorker * lease.workers()) {}

StepReport Offloader::step(std::span<const Option> options, std::span<Price> prices, double share,
                           bool may_take_back) {
  StepReport report;
  const auto n = options.size();
  const auto offloaded =
      std::min(n, static_cast<std::size_t>(std::llround(share * static_cast<double>(n))));
  const std::size_t own_end = n - offloaded;
  next_ = own_end;

  const auto began = Clock::now();
  last_back_ = began;
  lost_ = false;
  send(options, prices, report);
  for (std::size_t own = 0; own < own_end;) {
    const std::size_t piece = std::min(kOwnPiece, own_end - own);
    price_here(options, prices, own, piece, report);
    own += piece;
    collect(options, prices, report, false);
    send(options, prices, report);
  }
  while (next_ < n || !in_flight_.empty()) {
    const bool take_back = may_take_back && next_ < n;
    if (take_back) {
      const std::size_t piece = std::min(kOwnPiece, n - next_);
      price_here(options, prices, next_, piece, report);
      next_ += piece;
    }
    collect(options, prices, report, !take_back);
    send(options, prices, report);
  }
  report.workers_seconds = seconds(last_back_ - began);
  return report;
}

void Offloader::price_here(std::span<const Option> options, std::span<Price> prices,
                           std::size_t first, std::size_t count, StepReport& report) {
  const auto from = Clock::now();
  price_options(&options[first], count, &prices[first]);
  report.own_seconds += seconds(Clock::now() - from);
  report.own += count;
}

void Offloader::send(std::span<const Option> options, std::span<Price> prices, StepReport& report) {
  while (next_ < options.size() && (lost_ || in_flight_.size() < window_)) {
    const std::size_t count = std::min(chunk_, options.size() - next_);
    if (lost_) {
      price_here(options, prices, next_, count, report);
    } else {
      const auto sent = Clock::now();
      in_flight_.push_back({price_.async(&options[next_], count * sizeof(Option), &prices[next_],
                                         count * sizeof(Price)),
                            next_, count, sent});
    }
    next_ += count;
  }
}

void Offloader::collect(std::span<const Option> options, std::span<Price> prices,
                        StepReport& report, bool wait) {
  if (wait && !in_flight_.empty()) in_flight_.front().call.wait();
  for (auto it = in_flight_.begin(); it != in_flight_.end();) {
    if (it->call.poll()) {
      finish(*it, it->call.wait(), options, prices, report);
      it = in_flight_.erase(it);
    } else {
      ++it;
    }
  }
}

void Offloader::finish(InFlight& chunk, const sublet::Reply& reply, std::span<const Option> options,
                       std::span<Price> prices, StepReport& report) {
  const auto now = Clock::now();
  if (reply.ok() && reply.size == chunk.count * sizeof(Price)) {
    last_back_ = now;
    report.offloaded += chunk.count;
    chunk_us_.push_back(microseconds(now - chunk.sent));
    return;
  }
  note_failure(reply.ok() ? "the workers returned too few prices" : chunk.call.error());
  // No worker is left; in the next step there may be others.
  if (reply.status == sublet::Status::kClosed) lost_ = true;
  price_here(options, prices, chunk.first, chunk.count, report);
}

void Offloader::note_failure(std::string text) {
  if (failed_++ == 0) first_failure_ = std::move(text);
}

void Offloader::measure_single_calls(const Option& option, std::size_t count) {
  Price price{};
  single_us_.reserve(count);
  const auto end = Clock::now() + kSingleCallsLimit;
  auto sent = Clock::now();
  for (std::size_t i = 0; i < count && sent < end; ++i, sent = Clock::now()) {
    const sublet::Reply reply = price_.call(&option, sizeof option, &price, sizeof price);
    const auto back = Clock::now();
    if (!reply.ok()) {
      note_failure(price_.last_error());
      return;
    }
    single_us_.push_back(microseconds(back - sent));
  }
}

}  // namespace black_scholes
