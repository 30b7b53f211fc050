#include "bandwidth.hpp"

#include "leased_worker.hpp"
#include "payload.hpp"
#include "raw_transport.hpp"
#include "statistics.hpp"
#include <base/clock.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>
#include <utility>

namespace sublet::bench {
namespace {

constexpr double kMiB = 1 << 20;

/// What a batch moves: so much that filling and emptying the window does not count, so little that
/// a pair of batches meets the same machine.
constexpr std::uint64_t kBatchBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kLeastWindowsPerBatch = 4;
/// Calls at the start of a batch that are not timed: they wake the worker and use each buffer once.
constexpr std::uint64_t kUntimed = kStreamWindow;

/// How long the worker goes on spinning: long against the time a payload is on its way, during
/// which there is no call for it yet.
constexpr auto kSpinning = 20ms;

/// Batch pairs per size when the user does not say how many calls.
constexpr std::size_t kBandwidthPairs = 60;
constexpr std::uint64_t kLeastBandwidthPairs = 5;
constexpr auto kBandwidthTimePerSize = 8s;

/// A call's input, in the lease's arena, and its answer.
struct BandwidthPlace {
  Buffer<std::byte> in;
  std::uint64_t expected = 0;
  std::uint64_t answer = 0;
  Call call;
};

/// Calls of `measure_ends`, as many under way as the window is wide.
class CallStream {
 public:
  /// `copies`: each call's input is copied to the arena from private memory first.
  static Result<CallStream> create(Lease& lease, Function& function, std::size_t size,
                                   std::uint32_t window, bool copies) {
    CallStream stream(function, size);
    for (std::uint32_t i = 0; i < window; ++i) {
      auto in = lease.buffer<std::byte>(size);
      if (!in) return tl::unexpected<Error>(std::move(in.error()));
      BandwidthPlace place;
      place.in = std::move(*in);
      fill_stream_payload(place.in.data(), size, copies ? 0 : i);
      place.expected = ends_of(place.in.data(), size);
      stream.places_.push_back(std::move(place));
    }
    if (copies) stream.source_ = StreamSource(size, stream.places_[0].in.data());
    return stream;
  }

  /// Bytes per second of `count` calls, from before the first to after the last answer.
  Result<double> run(std::uint64_t count) {
    const base::Ticks start = base::ticks();
    bool ok = true;
    for (std::uint64_t i = 0; ok && i < count; ++i) ok = one();
    for (std::size_t i = 0; i < places_.size(); ++i) {  // the oldest first
      ok = collect(places_[next_]) && ok;
      advance();
    }
    const base::Ticks end = base::ticks();
    if (!ok) return failure();
    return per_second(size_ * count, base::TickRate::get().to_ns(end - start));
  }

 private:
  CallStream(Function& function, std::size_t size) : function_(&function), size_(size) {}

  bool one() noexcept {
    BandwidthPlace& place = places_[next_];
    if (!collect(place)) return false;
    if (source_.size() != 0) std::memcpy(place.in.data(), source_.data(), size_);
    // A worker has at least as many slots as the window, and the oldest has just been emptied.
    const Status status = function_->try_async(0, place.in.data(), size_, &place.answer,
                                               sizeof(place.answer), place.call);
    if (status != Status::kOk) {
      reply_.status = status;
      return false;
    }
    advance();
    return true;
  }

  /// Takes the answer of the place's call, when there is one under way.
  bool collect(BandwidthPlace& place) noexcept {
    if (!place.call.valid()) return true;
    reply_ = place.call.wait();
    if (!reply_.ok()) error_ = place.call.error();
    place.call = Call();
    return reply_.ok() && std::exchange(place.answer, 0) == place.expected;
  }

  void advance() noexcept {
    if (++next_ == places_.size()) next_ = 0;
  }

  tl::unexpected<Error> failure() const {
    if (reply_.ok()) return fail(ErrorKind::kInternal, "'measure_ends' did not see what was sent");
    return fail(ErrorKind::kDisconnected, std::string("calling 'measure_ends': ") +
                                              sublet::to_string(reply_.status) + ": " +
                                              (error_.empty() ? function_->last_error() : error_));
  }

  Function* function_;
  std::size_t size_;
  StreamSource source_;  ///< Empty: nothing is copied.
  std::vector<BandwidthPlace> places_;
  std::size_t next_ = 0;
  Reply reply_{};
  std::string error_;
};

/// One batch of ours; then the worker sleeps, so that the bare server has its core.
Result<double> our_batch(CallStream& stream, std::uint64_t count) {
  auto untimed = stream.run(std::min(kUntimed, count));
  if (!untimed) return untimed;
  auto timed = stream.run(count);
  std::this_thread::sleep_for(2 * kSpinning + 1ms);
  return timed;
}

Result<double> raw_batch(RawExchange& raw, std::size_t size, std::uint64_t count,
                         std::uint32_t window) {
  if (auto begun = raw.begin(RawKind::kStream, size); !begun) {
    return tl::unexpected<Error>(std::move(begun.error()));
  }
  auto untimed = raw.write_bandwidth(size, std::min(kUntimed, count), window);
  if (!untimed) return untimed;
  auto timed = raw.write_bandwidth(size, count, window);
  if (auto ended = raw.end(); !ended) return tl::unexpected<Error>(std::move(ended.error()));
  return timed;
}

/// Alternates batches of ours and of the bare stream; which goes first alternates too.
Result<BandwidthRow> measure_size(const BandwidthOptions& options, std::size_t size,
                                  CallStream& stream, RawExchange& raw, Progress& progress) {
  BandwidthRow row;
  row.size_bytes = size;
  std::uint64_t count = std::max(kBatchBytes / size, kLeastWindowsPerBatch * options.window);
  if (options.iterations != 0) {
    count = std::min(count, (options.iterations + kLeastBandwidthPairs - 1) / kLeastBandwidthPairs);
  }
  const auto raw_window = std::min<std::uint32_t>(options.window, kStreamWindow);
  std::vector<double> ours;
  std::vector<double> bare;
  std::vector<double> ratios;
  const std::string what = "bandwidth " + std::to_string(size) + " B";
  const auto start = std::chrono::steady_clock::now();
  const auto complete = [&] {
    if (options.iterations != 0) return row.pairs * count >= options.iterations;
    return row.pairs >= kBandwidthPairs ||
           (row.pairs >= kLeastBandwidthPairs &&
            std::chrono::steady_clock::now() - start > kBandwidthTimePerSize);
  };
  while (!complete()) {
    const bool ours_first = row.pairs % 2 == 0;
    auto first = ours_first ? our_batch(stream, count) : raw_batch(raw, size, count, raw_window);
    if (!first) return tl::unexpected<Error>(std::move(first.error()));
    auto second = ours_first ? raw_batch(raw, size, count, raw_window) : our_batch(stream, count);
    if (!second) return tl::unexpected<Error>(std::move(second.error()));
    ours.push_back((ours_first ? *first : *second) / kMiB);
    bare.push_back((ours_first ? *second : *first) / kMiB);
    ratios.push_back(ours.back() / bare.back());
    ++row.pairs;
    row.bytes += size * count;
    if (options.iterations != 0) {
      progress.show(what, row.pairs * count, options.iterations);
    } else {
      progress.show(what, row.pairs, kBandwidthPairs);
    }
  }
  row.mib_per_s = median(std::move(ours));
  row.raw_mib_per_s = median(std::move(bare));
  row.ratio = median(std::move(ratios));
  return row;
}

}  // namespace

Result<BandwidthReport> measure_bandwidth(const BandwidthOptions& options, Progress& progress) {
  const std::size_t largest = *std::max_element(options.sizes.begin(), options.sizes.end());
  auto raw = start_raw(options.transport, kStreamWindow * stream_stride(largest));
  if (!raw) return tl::unexpected<Error>(std::move(raw.error()));
  auto session = open_session(options);
  if (!session) return tl::unexpected<Error>(std::move(session.error()));
  auto worker = lease_worker(
      *session, options,
      {.hot_timeout = kSpinning, .slots = std::max(16u, std::bit_ceil(options.window))});
  if (!worker) return tl::unexpected<Error>(std::move(worker.error()));
  auto library = bench_library();
  if (!library) return tl::unexpected<Error>(std::move(library.error()));
  auto function = worker->lease.function(*library, "measure_ends");
  if (!function) return tl::unexpected<Error>(std::move(function.error()));
  if (auto pinned = (*raw)->pin_server(worker->cpus.worker); !pinned) {
    return tl::unexpected<Error>(std::move(pinned.error()));
  }
  auto pinned = PinnedThread::on(worker->cpus.client);
  if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));

  // Over shared memory the copy to where the worker reads it is all there is to move, so that both
  // sides make it. A network takes the payload from where it lies.
  const bool copies = raw_transport(options.transport)->stream_copies;
  BandwidthReport report;
  report.cpus = worker->cpus;
  report.transport = options.transport;
  report.manager = session->manager_address();
  report.window = options.window;
  for (const std::size_t size : options.sizes) {
    auto stream = CallStream::create(worker->lease, *function, size, options.window, copies);
    if (!stream) return tl::unexpected<Error>(std::move(stream.error()));
    // All buffers are used once in any case: then the worker has memory for them.
    auto warm = stream->run(std::max<std::uint64_t>(options.warmup, options.window));
    if (!warm) return tl::unexpected<Error>(std::move(warm.error()));
    std::this_thread::sleep_for(2 * kSpinning + 1ms);
    auto row = measure_size(options, size, *stream, **raw, progress);
    if (!row) return tl::unexpected<Error>(std::move(row.error()));
    report.rows.push_back(*row);
  }
  return report;
}

}  // namespace sublet::bench
