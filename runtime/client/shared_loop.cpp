#include <client/guarded.hpp>
#include <client/shared_loop.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <new>
#include <utility>

namespace sublet::client {
namespace {

using std::chrono::microseconds;

/// Time in which this thread looks at no worker: less than half of their shortest part.
constexpr std::chrono::duration<double> kLongestGrain = microseconds(100);
constexpr std::chrono::duration<double> kShortestGrain = microseconds(20);
/// A part takes a worker at least so long, and at least so many times the way there and back.
constexpr std::chrono::duration<double> kShortestPart = microseconds(50);
constexpr double kTripsAPart = 4;
/// A part takes this share of the time that is left.
constexpr double kShareOfTheRest = 1.0 / 16;
constexpr std::size_t kPartsAhead = 2;
/// A rest that this thread computes in so long is not shared out.
constexpr std::chrono::duration<double> kWorthSharing = microseconds(40);
constexpr std::chrono::duration<double> kCalibration = microseconds(10);
/// Rates are looked at so often: a part of the whole, and at least so long.
constexpr double kWindowShare = 1.0 / 100;
constexpr std::chrono::duration<double> kShortestWindow = microseconds(500);
/// The first part of a worker is such a share of the loop, and takes so long at most.
constexpr double kFirstPartShare = 1.0 / 4000;
constexpr std::chrono::duration<double> kLongestFirstPart = microseconds(10);
/// Without a part of its own, this thread waits so long for a worker to take one.
constexpr auto kPatience = std::chrono::seconds(30);
/// Together they must be faster by this than this thread alone, or the noise decides.
constexpr double kGain = 1.02;
constexpr int kPoorWindows = 2;
/// After that this thread is alone for so many windows, then twice as many.
constexpr double kPauseWindows = 4;
/// This thread is held up by workers when it is slower by this than alone.
constexpr double kSlowed = 0.9;
/// Newer rates count for so much.
constexpr double kNewest = 0.5;
/// What this thread takes over from a worker it must have that much sooner.
constexpr double kSooner = 1.2;
constexpr auto kSlice = microseconds(50);

std::string time_text(std::chrono::duration<double> time) {
  const double us = time.count() * 1e6;
  char text[32];
  if (us < 1) {
    std::snprintf(text, sizeof text, "%.3g ns", us * 1e3);
  } else if (us < 1e3) {
    std::snprintf(text, sizeof text, "%.3g us", us);
  } else {
    std::snprintf(text, sizeof text, "%.3g ms", us / 1e3);
  }
  return text;
}

void average(double& mean, double newest) noexcept {
  mean = mean == 0 ? newest : mean + kNewest * (newest - mean);
}

/// Whether what the worker was to do may be done elsewhere: nothing is wrong with the function.
bool is_lost(Status status) noexcept {
  return status == Status::kLost || status == Status::kClosed;
}

}  // namespace

Result<OffloadReport> SharedLoop::run() {
  lanes_.resize(lease_.workers());
  if (options_.computes_here && !calibrate()) {
    if (left()) compute({next_, count_ - next_});
    return std::move(report_);
  }
  window_began_ = Clock::now();
  Time idle_since{};
  while (left() || under_way()) {
    if (auto collected = collect(); !collected) return tl::unexpected<Error>(collected.error());
    if (report_.stopped && Clock::now() >= paused_until_) go_on();
    if (!report_.stopped) {
      if (auto handed = hand_out(); !handed) return tl::unexpected<Error>(handed.error());
      weigh(Clock::now());
    }
    if (options_.computes_here && left()) {
      compute_some();
    } else if (under_way() && !take_over()) {
      if (auto waited = wait_a_little(); !waited) return tl::unexpected<Error>(waited.error());
    } else if (left() && !under_way()) {
      const bool all_closed =
          std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.closed; });
      if (all_closed) return nobody_takes_them();
      if (idle_since == Time()) idle_since = Clock::now();
      if (Clock::now() - idle_since > kPatience) return nobody_takes_them();
      lease_.progress();
      continue;
    }
    idle_since = Time();
  }
  return std::move(report_);
}

tl::unexpected<Error> SharedLoop::nobody_takes_them() const {
  return fail(ErrorKind::kDisconnected,
              "offload_for: " + std::to_string(items_left()) +
                  " items are left and no worker of the lease takes them" +
                  (refusal_.empty() ? "" : " (" + refusal_ + ")") +
                  "; let this thread compute too, or lease other workers");
}

// ---- What is left ----

std::size_t SharedLoop::items_left() const noexcept {
  std::size_t sum = count_ - next_;
  for (const Range& range : returned_) sum += range.count;
  return sum;
}

bool SharedLoop::under_way() const noexcept {
  return std::any_of(lanes_.begin(), lanes_.end(),
                     [](const Lane& lane) { return !lane.parts.empty(); });
}

SharedLoop::Range SharedLoop::take(std::size_t most) {
  if (!returned_.empty()) {
    Range& last = returned_.back();
    const Range taken{last.first, std::min(most, last.count)};
    last.first += taken.count;
    last.count -= taken.count;
    if (last.count == 0) returned_.pop_back();
    return taken;
  }
  const Range taken{next_, std::min(most, count_ - next_)};
  next_ += taken.count;
  return taken;
}

// ---- Rates ----

double SharedLoop::guess(const Lane& lane) const noexcept {
  if (lane.closed) return 0;
  if (lane.rate > 0) return lane.rate;
  if (rate_here_ > 0) return rate_here_;
  double known = 0;
  for (const Lane& other : lanes_) known = std::max(known, other.rate);
  return known;
}

double SharedLoop::rate_of_all() const noexcept {
  double sum = rate_here_;
  for (const Lane& lane : lanes_) sum += guess(lane);
  return sum;
}

std::size_t SharedLoop::items_in(double rate, Seconds time) const noexcept {
  // Nothing is known yet: small parts, all alike.
  const double items =
      rate > 0 ? rate * time.count()
               : static_cast<double>(count_) / static_cast<double>(lanes_.size()) * kShareOfTheRest;
  return std::max({static_cast<std::size_t>(std::min(items, static_cast<double>(count_))),
                   options_.least_items, std::size_t{1}});
}

std::size_t SharedLoop::items_for(double rate, Seconds least) const noexcept {
  const double all = rate_of_all();
  const Seconds share(all > 0 ? static_cast<double>(items_left()) / all * kShareOfTheRest : 0);
  return items_in(rate, std::max(share, least));
}

void SharedLoop::learn(Lane& lane, const Part& part, const Reply& reply, Time now) {
  const Seconds executed(static_cast<double>(reply.exec_ns) * 1e-9);
  const Seconds since_submitted = now - part.submitted;
  const Seconds busy = now - std::max(part.submitted, lane.free_since);
  // It ended between two looks; not in less time than it computed. Of the first short parts the way
  // there and back is most.
  const Seconds took =
      since_submitted < kShortestPart ? executed : std::max(busy - last_grain_, executed);
  if (took.count() > 0) average(lane.rate, static_cast<double>(part.range.count) / took.count());
  if (lane.free_since <= part.submitted) {  // it waited for nothing else
    const Seconds beside = std::max(since_submitted - executed - last_grain_, Seconds(0));
    if (round_trip_.count() == 0 || beside < round_trip_) round_trip_ = beside;
  }
  lane.free_since = now;
}

// ---- This thread's own part ----

bool SharedLoop::calibrate() {
  std::size_t items = std::max<std::size_t>(options_.least_items, 1);
  while (next_ < count_) {
    const Range range = take(items);
    compute(range);
    if (last_grain_ >= kCalibration) break;
    items *= 2;
  }
  if (next_ == count_) return false;
  const Seconds rest(static_cast<double>(count_ - next_) / rate_here_);
  if (rest < kWorthSharing) {
    stop("the rest of the loop takes " + time_text(rest) + " here: too little to be shared out");
    return false;
  }
  if (lanes_.empty()) {
    stop("the lease has no workers");
    return false;
  }
  rate_alone_ = rate_here_;
  return true;
}

void SharedLoop::compute(Range range) {
  const Time began = Clock::now();
  body_.compute(range.first, range.count);
  last_grain_ = Clock::now() - began;
  report_.here += range.count;
  window_items_ += range.count;
  if (last_grain_.count() > 0) {
    average(rate_here_, static_cast<double>(range.count) / last_grain_.count());
  }
}

void SharedLoop::compute_some() {
  if (report_.stopped && !under_way()) {
    const Seconds alone =
        paused_until_ == Time::max() ? Seconds::max() : Seconds(paused_until_ - Clock::now());
    compute(take(items_in(rate_here_, std::max(alone, kShortestGrain))));
    return;
  }
  const Seconds rest(static_cast<double>(items_left()) / rate_of_all());
  compute(take(
      items_in(rate_here_, std::clamp(rest * kShareOfTheRest, kShortestGrain, kLongestGrain))));
}

// ---- Parts of workers ----

Result<void> SharedLoop::hand_out() {
  // Others may have come.
  if (lanes_.size() < lease_.workers()) lanes_.resize(lease_.workers());
  for (std::size_t worker = 0; worker < lanes_.size(); ++worker) {
    const Lane& lane = lanes_[worker];
    while (!report_.stopped && left() && !lane.closed &&
           lane.parts.size() < (lane.rate > 0 ? kPartsAhead : 1)) {
      auto taken = hand_out_to(worker);
      if (!taken) return tl::unexpected<Error>(taken.error());
      if (!*taken) break;
    }
  }
  return {};
}

Result<bool> SharedLoop::hand_out_to(std::size_t worker) {
  Lane& lane = lanes_[worker];
  const Seconds least = std::max(kShortestPart, kTripsAPart * round_trip_);
  const std::size_t share = items_for(guess(lane), least);
  if (lane.most == 0) {
    const Seconds first(static_cast<double>(count_) * kFirstPartShare / rate_of_all());
    lane.most = items_in(guess(lane), std::min(first, kLongestFirstPart));
  }
  const Range range = take(std::min(share, lane.most));
  Status status = Status::kOk;
  std::unique_ptr<sublet::detail::LoopPart> call;
  const Time began = Clock::now();
  try {
    call = body_.start(worker, range.first, range.count, status);
  } catch (const std::bad_alloc&) {
    returned_.push_back(range);
    refusal_ = "the lease's arena has no room for " + std::to_string(range.count) + " items";
    if (!options_.computes_here && !under_way()) {
      return fail(ErrorKind::kOverloaded,
                  "offload_for: " + refusal_ + "; ask for more with LeaseRequest::arena_bytes");
    }
    return false;
  }
  const Time now = Clock::now();
  if (call == nullptr) {
    returned_.push_back(range);
    refusal_ = "worker " + std::to_string(worker) + ": " + to_string(status);
    if (status == Status::kAgain) return false;
    if (is_lost(status)) {
      lane.closed = true;
      return false;
    }
    body_.failed(status);
    return fail(sublet::detail::kind_of(status), "offload_for: " + refusal_);
  }
  ++report_.calls;
  cost_.note_handed_out(range.count, Seconds(now - began).count());
  lane.most = std::max(lane.most, range.count * cost_.growth());
  const std::size_t later = std::max(share, items_in(rate_here_, kShortestPart));
  const Seconds here(static_cast<double>(later) / rate_here_);
  if (options_.computes_here && !cost_.pays(later, here.count())) {
    stop("handing out " + std::to_string(later) + " items takes " +
         time_text(Seconds(cost_.of(later))) + " of this thread, computing them " +
         time_text(here));
    paused_until_ = Time::max();
  }
  lane.parts.push_back({range, std::move(call), now});
  return true;
}

Result<void> SharedLoop::collect() {
  for (std::size_t worker = 0; worker < lanes_.size(); ++worker) {
    if (auto collected = collect_from(worker); !collected) return collected;
  }
  return {};
}

Result<void> SharedLoop::collect_from(std::size_t worker) {
  Lane& lane = lanes_[worker];
  while (!lane.parts.empty() && lane.parts.front().call->call.poll()) {
    Part part = std::move(lane.parts.front());
    lane.parts.erase(lane.parts.begin());
    const Time now = Clock::now();
    const Reply reply = part.call->call.wait();
    if (reply.ok()) {
      if (auto finished = part.call->finish(reply); !finished) return finished;
      learn(lane, part, reply, now);
      cost_.note_taken_back(part.range.count, Seconds(Clock::now() - now).count());
      report_.on_workers += part.range.count;
      window_items_ += part.range.count;
      continue;
    }
    if (!is_lost(reply.status)) {
      body_.failed(reply.status);
      return fail(sublet::detail::kind_of(reply.status),
                  "offload_for: items " + std::to_string(part.range.first) + " to " +
                      std::to_string(part.range.first + part.range.count - 1) + ": " +
                      part.call->call.error());
    }
    refusal_ = part.call->call.error();
    report_.again += part.range.count;
    returned_.push_back(part.range);
  }
  return {};
}

Result<void> SharedLoop::wait_a_little() {
  // A wait also polls; each lane gets its share of the slice.
  for (std::size_t worker = 0; worker < lanes_.size(); ++worker) {
    if (lanes_[worker].parts.empty()) continue;
    (void)lanes_[worker].parts.front().call->call.wait_for(kSlice);
    last_grain_ = Seconds(0);
    if (auto collected = collect_from(worker); !collected) return collected;
  }
  return {};
}

bool SharedLoop::take_over() {
  if (!options_.computes_here || rate_here_ <= 0) return false;
  const Time now = Clock::now();
  for (Lane& lane : lanes_) {
    if (lane.parts.empty() || !lane.parts.back().call->stands_alone()) continue;
    const Range range = lane.parts.back().range;
    const Seconds here(static_cast<double>(range.count) / rate_here_);
    const Seconds since = now - std::max(lane.parts.front().submitted, lane.free_since);
    Seconds expected = since;  // as long again, when nothing is known or it is late
    if (lane.rate > 0) {
      const Seconds whole(static_cast<double>(lane.items()) / lane.rate);
      if (whole > since) expected = whole - since;
    }
    if (expected < here * kSooner + round_trip_) continue;
    // It goes on by itself, with memory of its own, and nobody looks at what it brings.
    std::shared_ptr<sublet::detail::LoopPart> alone = std::move(lane.parts.back().call);
    lane.parts.pop_back();
    Call call = std::move(alone->call);
    call.then([alone](const Reply&) {});
    report_.again += range.count;
    returned_.push_back(range);
    return true;
  }
  return false;
}

// ---- Whether it pays ----

void SharedLoop::weigh(Time now) {
  if (report_.stopped || !options_.computes_here || report_.calls == 0) return;
  const Seconds window = now - window_began_;
  const Seconds whole(static_cast<double>(count_) / rate_alone_);
  const Seconds enough = std::max(kShortestWindow, whole * kWindowShare);
  if (window < enough || !left()) return;
  const double rate = static_cast<double>(window_items_) / window.count();
  begin_window(now);
  // A worker that does nothing takes nothing from this thread: it may come back.
  const bool slowed = rate_here_ < rate_alone_ * kSlowed;
  poor_windows_ = slowed && rate < rate_alone_ * kGain ? poor_windows_ + 1 : 0;
  if (poor_windows_ < kPoorWindows) return;
  stop("together an item took " + time_text(Seconds(1 / rate)) + ", this thread alone " +
       time_text(Seconds(1 / rate_alone_)) +
       ": the workers share its core, or wait for the same memory");
  pause_ = std::max(2 * pause_, kPauseWindows * enough);
  paused_until_ = now + std::chrono::duration_cast<Clock::duration>(pause_);
}

void SharedLoop::go_on() {
  report_.stopped = false;
  rate_alone_ = rate_here_;
  poor_windows_ = kPoorWindows - 1;  // once more is enough
  begin_window(Clock::now());
}

void SharedLoop::begin_window(Time now) {
  window_began_ = now;
  window_items_ = 0;
}

void SharedLoop::stop(std::string why) {
  report_.stopped = true;
  report_.why = std::move(why);
}

}  // namespace sublet::client

namespace sublet::detail {

Result<OffloadReport> share_out(Lease& lease, LoopBody& body, std::size_t count,
                                const OffloadOptions& options) {
  return client::SharedLoop(lease, body, count, options).run();
}

}  // namespace sublet::detail
