#pragma once

#include <transport/contract.hpp>

#include <cstdint>
#include <vector>

namespace sublet::transport {

/// Requests that a client's channel has accepted and not sent: the network takes no more at the
/// moment, or their memory has to be made ready first. Calls keep their order, so those behind one
/// wait with it.
///
/// Owner and user: one client's channel, which sends them from its poll and wait. Bounded by the
/// channel's slots.
class Unsent {
 public:
  explicit Unsent(std::uint32_t slots) : requests_(slots), mask_(slots - 1) {}

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// Of the first. Only when there is one.
  [[nodiscard]] std::uint32_t sequence() const noexcept { return first_; }
  [[nodiscard]] const Request& request() const noexcept { return requests_[first_ & mask_]; }

  /// `sequence` follows that of the last one.
  void push(std::uint32_t sequence, const Request& request) noexcept {
    if (count_ == 0) first_ = sequence;
    requests_[sequence & mask_] = request;
    ++count_;
  }
  void pop() noexcept {
    ++first_;
    --count_;
  }

 private:
  std::vector<Request> requests_;
  std::uint32_t mask_;
  std::uint32_t first_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace sublet::transport
