#include <common/message_lane.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {
namespace {

constexpr auto kSlice = 1 * kj::MILLISECONDS;

}  // namespace

kj::Promise<void> MessageLane::enter(kj::Timer& timer) {
  if (!std::exchange(serving_, true)) {
    served_ = 0;
    service_ = timer.afterDelay(kSlice)
                   .then([this, &timer] { return serve(timer); })
                   .eagerlyEvaluate([](kj::Exception&&) {});
  }
  if (waiting_.empty() && served_ < kOfAFew) {
    ++served_;
    return kj::evalLater([] {});
  }
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

kj::Promise<void> MessageLane::serve(kj::Timer& timer) {
  if (std::exchange(served_, 0) == 0 && waiting_.empty()) {
    serving_ = false;
    return kj::READY_NOW;
  }
  while (served_ < kOfACrowd && !waiting_.empty()) {
    auto next = kj::mv(waiting_.front());
    waiting_.pop_front();
    if (!next->isWaiting()) continue;  // its connection has gone
    next->fulfill();
    ++served_;
  }
  return timer.afterDelay(kSlice).then([this, &timer] { return serve(timer); });
}

bool MessageRate::is_busy(kj::TimePoint now) {
  const auto earned = static_cast<std::size_t>((now - since_) / kOneMoreAfter);
  if (earned > 0) {
    left_ = std::min(kBurst, left_ + earned);
    since_ = now;
  }
  if (left_ == 0) return true;
  --left_;
  return false;
}

}  // namespace sublet::manager
