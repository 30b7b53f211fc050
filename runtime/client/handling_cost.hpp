#pragma once

#include <algorithm>
#include <cstddef>

namespace sublet::client {

/// What it costs a thread to hand out parts of a loop, in seconds: an amount for each part, and one
/// for each item, told apart by parts of different sizes. Whether that pays is judged at the size
/// that parts will have, long before they have it: the first ones are so small that it costs
/// nothing to find out that they do not pay.
class HandlingCost {
 public:
  /// A part of `items` was handed out in `seconds`.
  void note_handed_out(std::size_t items, double seconds) noexcept {
    const auto count = static_cast<double>(items);
    if (least_items_ == 0 || count < least_items_) {
      least_items_ = count;
      least_cost_ = seconds;
      return;
    }
    if (count == least_items_) {
      least_cost_ = std::min(least_cost_, seconds);  // a worker was woken, or this thread held up
      return;
    }
    per_item_ = std::max(0.0, (seconds - least_cost_) / (count - least_items_));
    per_part_ = std::max(0.0, seconds - per_item_ * count);
    is_known_ = true;
  }
  /// And what came back was taken in in `seconds`.
  void note_taken_back(std::size_t items, double seconds) noexcept {
    const double newest = seconds / static_cast<double>(items);
    taking_back_ = taking_back_ == 0 ? newest : (taking_back_ + newest) / 2;
  }

  /// Of a part of `items`: a guess that is too low, while only one size has been seen.
  [[nodiscard]] double of(std::size_t items) const noexcept {
    const auto count = static_cast<double>(items);
    const double handing_out = is_known_ ? per_part_ + per_item_ * count : least_cost_;
    return handing_out + taking_back_ * count;
  }

  /// Judges parts of `items` that would take this thread `here` seconds: false when handing them
  /// out takes as long. Once is an accident, twice in a row is not; nor is a large multiple.
  [[nodiscard]] bool pays(std::size_t items, double here) noexcept {
    const double cost = of(items);
    if (cost < here) {
      bad_ = 0;
      return true;
    }
    ++bad_;
    return bad_ < kBad && cost < kFarTooMuch * here;
  }
  /// By how much the next part may be larger than this one: at first so that an item's cost shows,
  /// and not at all while parts seem not to pay.
  [[nodiscard]] std::size_t growth() const noexcept {
    if (bad_ > 0) return 1;
    return is_known_ ? kGrowth : kCarefulGrowth;
  }

 private:
  static constexpr int kBad = 2;
  static constexpr double kFarTooMuch = 8;
  static constexpr std::size_t kGrowth = 4;
  static constexpr std::size_t kCarefulGrowth = 2;

  double least_items_ = 0;
  double least_cost_ = 0;
  double per_part_ = 0;
  double per_item_ = 0;
  double taking_back_ = 0;
  bool is_known_ = false;
  int bad_ = 0;
};

}  // namespace sublet::client
