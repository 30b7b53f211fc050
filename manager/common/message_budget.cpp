#include <common/message_budget.hpp>

#include <utility>

namespace sublet::manager {

MessageBudget::Share::Share(MessageBudget& budget, std::string owner, std::size_t bytes)
    : budget_(budget), owner_(std::move(owner)), bytes_(bytes) {
  budget_.used_ += bytes_;
  budget_.owners_[owner_] += bytes_;
}

MessageBudget::Share::~Share() noexcept(false) {
  budget_.used_ -= bytes_;
  const auto owner = budget_.owners_.find(owner_);
  owner->second -= bytes_;
  if (owner->second == 0) budget_.owners_.erase(owner);
  budget_.serve_waiting();
}

bool MessageBudget::fits_owner(const std::string& owner, std::size_t bytes) const {
  const auto entry = owners_.find(owner);
  return (entry == owners_.end() ? 0 : entry->second) + bytes <= bytes_ / 2;
}

kj::Promise<kj::Own<MessageBudget::Share>> MessageBudget::take(const std::string& owner,
                                                               std::size_t bytes) {
  auto paf = kj::newPromiseAndFulfiller<kj::Own<Share>>();
  waiting_.push_back({owner, bytes, kj::mv(paf.fulfiller)});
  serve_waiting();
  return kj::mv(paf.promise);
}

void MessageBudget::serve_waiting() {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    if (!next->fulfiller->isWaiting()) {  // its connection has gone
      next = waiting_.erase(next);
    } else if (!fits_owner(next->owner, next->bytes)) {
      ++next;
    } else if (used_ + next->bytes > bytes_) {
      return;
    } else {
      auto share = kj::heap<Share>(*this, next->owner, next->bytes);
      next->fulfiller->fulfill(kj::mv(share));
      next = waiting_.erase(next);
    }
  }
}

}  // namespace sublet::manager
