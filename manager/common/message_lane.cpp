#include <common/message_lane.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {

kj::Promise<void> MessageLane::enter(kj::Timer& timer, const void* who) {
  const bool alone = std::exchange(last_, who) == who && waiting_.empty();
  if (alone) return kj::evalLater([] {});
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_.push_back(kj::mv(paf.fulfiller));
  if (!std::exchange(serving_, true)) {
    service_ = serve(timer).eagerlyEvaluate([](kj::Exception&&) {});
  }
  return kj::mv(paf.promise);
}

kj::Promise<void> MessageLane::serve(kj::Timer& timer) {
  if (waiting_.empty()) {
    serving_ = false;
    return kj::READY_NOW;
  }
  for (unsigned served = 0; served < kAtATime && !waiting_.empty();) {
    auto next = kj::mv(waiting_.front());
    waiting_.pop_front();
    if (!next->isWaiting()) continue;  // its connection has gone
    next->fulfill();
    ++served;
  }
  return timer.afterDelay(1 * kj::MILLISECONDS).then([this, &timer] { return serve(timer); });
}

bool MessageRate::is_busy(std::chrono::steady_clock::time_point now) {
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
