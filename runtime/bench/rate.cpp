#include "rate.hpp"

#include "batch.hpp"
#include "exchange.hpp"
#include "leased_worker.hpp"
#include "statistics.hpp"
#include <base/clock.hpp>

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

namespace sublet::bench {
namespace {

/// Batch pairs per window when the user does not say how many calls.
constexpr std::size_t kRatePairs = 100;
constexpr std::uint64_t kLeastRatePairs = 5;
/// Calls between two looks at the clock.
constexpr std::uint64_t kCallsPerClock = 64;

/// A call's own memory: of the arena, or private as an application's own when it is small.
class RatePlace {
 public:
  static Result<RatePlace> create(Lease& lease, std::size_t size) {
    RatePlace place;
    place.plain_in_.resize(std::min(size, kPlainBytes));
    place.plain_out_.resize(std::min(size, kPlainBytes));
    place.size_ = size;
    if (size > kPlainBytes) {
      auto in = lease.buffer<std::byte>(size);
      if (!in) return tl::unexpected<Error>(std::move(in.error()));
      auto out = lease.buffer<std::byte>(size);
      if (!out) return tl::unexpected<Error>(std::move(out.error()));
      place.in_ = std::move(*in);
      place.out_ = std::move(*out);
    }
    return place;
  }
  [[nodiscard]] const void* in() const noexcept {
    return size_ > kPlainBytes ? in_.data() : plain_in_.data();
  }
  [[nodiscard]] void* out() noexcept {
    return size_ > kPlainBytes ? out_.data() : plain_out_.data();
  }

 private:
  std::vector<std::byte> plain_in_;
  std::vector<std::byte> plain_out_;
  Buffer<std::byte> in_;
  Buffer<std::byte> out_;
  std::size_t size_ = 0;
};

/// One worker, and a place for each call of the widest window.
class Load {
 public:
  static Result<Load> create(LeasedWorker& worker, std::size_t size, std::uint32_t window) {
    Load load(worker.echo, size);
    for (std::uint32_t i = 0; i < window; ++i) {
      auto place = RatePlace::create(worker.lease, size);
      if (!place) return tl::unexpected<Error>(std::move(place.error()));
      load.places_.push_back(std::move(*place));
    }
    return load;
  }

  /// Calls per second of a batch of at most `max_calls`, `window` in flight at any time; 0: one
  /// call() after the other. `calls` grows by the calls made.
  Result<double> run(std::uint32_t window, std::uint64_t max_calls, std::uint64_t& calls) {
    const base::TickRate& rate = base::TickRate::get();
    const base::Ticks limit = rate.from(kBatchTime);
    const base::Ticks start = base::ticks();
    std::uint64_t done = 0;
    bool ok = true;
    while (ok && done < max_calls && base::ticks() - start < limit) {
      const std::uint64_t count = std::min(kCallsPerClock, max_calls - done);
      ok = window == 0 ? one_by_one(count) : full_window(window, count);
      done += count;
    }
    ok = drain() && ok;
    const base::Ticks end = base::ticks();
    if (!ok) return failure();
    calls += done;
    return static_cast<double>(done) * 1e9 / static_cast<double>(rate.to_ns(end - start));
  }

 private:
  Load(Function& echo, std::size_t size) : echo_(&echo), size_(size) {}

  bool one_by_one(std::uint64_t count) noexcept {
    RatePlace& place = places_.front();
    for (std::uint64_t i = 0; i < count; ++i) {
      status_ = echo_->call(place.in(), size_, place.out(), size_).status;
      if (status_ != Status::kOk) return false;
    }
    return true;
  }

  bool full_window(std::uint32_t window, std::uint64_t count) noexcept {
    if (calls_.size() != window) calls_.resize(window);
    for (std::uint64_t i = 0; i < count; ++i) {
      Call& call = calls_[next_];
      RatePlace& place = places_[next_];
      if (!collect(call)) return false;
      // A worker has at least as many slots as the window, and the oldest has just been emptied.
      const Status status = echo_->try_async(0, place.in(), size_, place.out(), size_, call);
      if (status != Status::kOk) {
        status_ = status;
        return false;
      }
      if (++next_ == window) next_ = 0;
    }
    return true;
  }

  /// Takes the reply of a call, when there is one under way.
  bool collect(Call& call) noexcept {
    if (!call.valid()) return true;
    const Reply reply = call.wait();
    if (reply.ok()) return true;
    status_ = reply.status;
    error_ = call.error();
    return false;
  }

  bool drain() noexcept {
    bool ok = true;
    for (Call& call : calls_) ok = collect(call) && ok;
    calls_.clear();
    next_ = 0;
    return ok;
  }

  tl::unexpected<Error> failure() const {
    return fail(ErrorKind::kDisconnected, std::string("calling 'echo': ") +
                                              sublet::to_string(status_) + ": " +
                                              (error_.empty() ? echo_->last_error() : error_));
  }

  Function* echo_;
  std::size_t size_;
  std::vector<RatePlace> places_;
  std::vector<Call> calls_;
  std::size_t next_ = 0;
  Status status_ = Status::kOk;  ///< Of the last call.
  std::string error_;
};

/// Alternates batches with the window full and batches of one call after the other.
Result<RateRow> measure_window(Load& load, const RateOptions& options, std::uint32_t window,
                               Progress& progress) {
  RateRow row;
  row.window = window;
  std::vector<double> full;
  std::vector<double> sync;
  std::vector<double> ratios;
  const std::uint64_t share = (options.iterations + kLeastRatePairs - 1) / kLeastRatePairs;
  const auto complete = [&] {
    return options.iterations != 0 ? row.calls >= options.iterations : row.pairs >= kRatePairs;
  };
  while (!complete()) {
    const std::uint64_t max_calls =
        options.iterations == 0 ? kMaxIterations : std::min(share, options.iterations - row.calls);
    std::uint64_t sync_calls = 0;
    auto with_window = load.run(window, max_calls, row.calls);
    if (!with_window) return tl::unexpected<Error>(std::move(with_window.error()));
    auto without = load.run(0, max_calls, sync_calls);
    if (!without) return tl::unexpected<Error>(std::move(without.error()));
    full.push_back(*with_window);
    sync.push_back(*without);
    ratios.push_back(*with_window / *without);
    ++row.pairs;
    const std::string what = "rate, window " + std::to_string(window);
    if (options.iterations != 0) {
      progress.show(what, row.calls, options.iterations);
    } else {
      progress.show(what, row.pairs, kRatePairs);
    }
  }
  row.calls_per_s = median(std::move(full));
  row.sync_calls_per_s = median(std::move(sync));
  row.ratio = median(std::move(ratios));
  return row;
}

}  // namespace

Result<RateReport> measure_rate(const RateOptions& options, Progress& progress) {
  const std::uint32_t widest = *std::max_element(options.windows.begin(), options.windows.end());
  auto session = open_session(options);
  if (!session) return tl::unexpected<Error>(std::move(session.error()));
  auto worker = lease_worker(*session, options, {.slots = std::max(16u, std::bit_ceil(widest))});
  if (!worker) return tl::unexpected<Error>(std::move(worker.error()));
  auto pinned = PinnedThread::on(worker->cpus.client);
  if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));
  auto load = Load::create(*worker, options.size, widest);
  if (!load) return tl::unexpected<Error>(std::move(load.error()));
  std::uint64_t warmup_calls = 0;
  while (warmup_calls < options.warmup) {
    auto warm = load->run(0, options.warmup - warmup_calls, warmup_calls);
    if (!warm) return tl::unexpected<Error>(std::move(warm.error()));
  }

  RateReport report;
  report.cpus = worker->cpus;
  report.transport = options.transport;
  report.manager = session->manager_address();
  report.size_bytes = options.size;
  for (const std::uint32_t window : options.windows) {
    auto row = measure_window(*load, options, window, progress);
    if (!row) return tl::unexpected<Error>(std::move(row.error()));
    report.rows.push_back(*row);
  }
  return report;
}

}  // namespace sublet::bench
