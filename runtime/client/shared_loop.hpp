#pragma once

// Who computes which part of a loop: the thread it belongs to, or a worker of its lease.
//
// A part is a share of what is left, by the rates measured so far (guided self-scheduling,
// weighted): large while much is left, down to what makes a call worth it; the first ones of a
// worker are short, until something is known of it. Each worker has two parts, so that it goes on
// with the second while the first is collected. Between parts of its own, far smaller ones, this
// thread collects and hands out. What a worker lost comes back to what is left. When nothing is
// left, this thread takes over the last part of a worker that would need longer for it than it does
// itself.
//
// Offloading is given up where it does not pay: for good when packing and handing out an item costs
// this thread as much as computing it, for a while when all of them together are no faster than
// this thread alone (workers that share its core, a memory bus that is full).

#include <client/handling_cost.hpp>
#include <sublet/detail/loop.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::client {

/// Owner and thread rule: one run on the stack of the thread that uses the lease.
class SharedLoop {
 public:
  SharedLoop(Lease& lease, sublet::detail::LoopBody& body, std::size_t count,
             const OffloadOptions& options)
      : lease_(lease), body_(body), options_(options), count_(count) {}
  Result<OffloadReport> run();

 private:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Seconds = std::chrono::duration<double>;

  /// The items [first, first + count).
  struct Range {
    std::size_t first = 0;
    std::size_t count = 0;
  };
  struct Part {
    Range range;
    std::unique_ptr<sublet::detail::LoopPart> call;
    Time submitted;
  };
  /// A worker, as this loop sees it.
  struct Lane {
    std::vector<Part> parts;  ///< Under way, oldest first: two at most.
    double rate = 0;          ///< Items a second; 0 until the first part has ended.
    std::size_t most = 0;     ///< Items of the next part.
    Time free_since{};        ///< The end of the part before, as far as it was seen.
    bool closed = false;
    [[nodiscard]] std::size_t items() const noexcept {
      std::size_t sum = 0;
      for (const Part& part : parts) sum += part.range.count;
      return sum;
    }
  };

  [[nodiscard]] bool left() const noexcept { return next_ < count_ || !returned_.empty(); }
  [[nodiscard]] std::size_t items_left() const noexcept;
  [[nodiscard]] tl::unexpected<Error> nobody_takes_them() const;
  [[nodiscard]] bool under_way() const noexcept;
  /// At most `most` items of what is left, which is not nothing.
  Range take(std::size_t most);
  /// Items a second of all; a worker not known yet counts as what is known.
  [[nodiscard]] double rate_of_all() const noexcept;
  [[nodiscard]] double guess(const Lane& lane) const noexcept;
  /// What is done in `time` at `rate`: one item at least.
  [[nodiscard]] std::size_t items_in(double rate, Seconds time) const noexcept;
  /// The same for a share of the time that is left, `least` at the least.
  [[nodiscard]] std::size_t items_for(double rate, Seconds least) const noexcept;

  /// Computes items here until the time of one is known; false when the rest is not worth sharing.
  bool calibrate();
  void compute_some();
  void compute(Range range);
  Result<void> hand_out();
  /// False when the worker takes no more for now.
  Result<bool> hand_out_to(std::size_t worker);
  Result<void> collect();
  Result<void> collect_from(std::size_t worker);
  void learn(Lane& lane, const Part& part, const Reply& reply, Time now);
  /// Gives offloading up for a while when all together are no faster than this thread alone.
  void weigh(Time now);
  /// After a pause.
  void go_on();
  void begin_window(Time now);
  void stop(std::string why);
  /// True when a part of a worker's has become this thread's.
  bool take_over();
  Result<void> wait_a_little();

  Lease& lease_;
  sublet::detail::LoopBody& body_;
  const OffloadOptions& options_;
  const std::size_t count_;
  std::size_t next_ = 0;
  std::vector<Range> returned_;  ///< Of parts that were lost.
  std::vector<Lane> lanes_;
  OffloadReport report_;
  double rate_here_ = 0;   ///< Items a second, while others may compute too.
  double rate_alone_ = 0;  ///< While nothing was handed out: at the begin, or in the last pause.
  Seconds last_grain_{0};  ///< So late an end may be noticed.
  HandlingCost cost_;
  Seconds round_trip_{0};  ///< What a call takes beside its execution; the least seen.
  Time window_began_{};
  std::size_t window_items_ = 0;
  int poor_windows_ = 0;
  Seconds pause_{0};  ///< So long this thread goes on alone; longer each time.
  Time paused_until_{};
  std::string refusal_;  ///< Why a worker took no part, last.
};

}  // namespace sublet::client
