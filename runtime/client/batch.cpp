#include <client/batch.hpp>

#include <deque>

namespace sublet::client {
namespace {

/// Calls of a batch that are under way or queued at once, for each slot: enough that no worker
/// waits for the next one.
constexpr std::size_t kCallsPerSlot = 2;

class Batch {
 public:
  Batch(Workers& workers, std::span<BatchItem> items, base::Deadline deadline)
      : workers_(workers), items_(items), deadline_(deadline) {}

  void run(std::uint16_t function, bool idempotent) {
    std::size_t window = 0;
    for (const auto& link : workers_.links()) window += link->share()->grant.slots;
    window *= kCallsPerSlot;
    for (BatchItem& item : items_) {
      if (under_way_.size() >= window) end_oldest();
      if (late_ || deadline_.passed()) {
        late_ = true;
        skip(item);
        continue;
      }
      PendingCall* call =
          workers_.async(function, idempotent, item.in, item.in_size, item.out, item.out_capacity);
      under_way_.push_back({&item, call});
    }
    while (!under_way_.empty()) end_oldest();
  }

  [[nodiscard]] bool late() const noexcept { return late_; }
  [[nodiscard]] BatchReport& report() noexcept { return report_; }

 private:
  struct Item {
    BatchItem* item;
    PendingCall* call;
  };

  void skip(BatchItem& item) {
    item.reply = Reply{};
    item.reply.status = Status::kDeadline;
    ++report_.failed;
  }

  void end_oldest() {
    const auto [item, call] = under_way_.front();
    under_way_.pop_front();
    if (!workers_.wait(*call, deadline_)) {
      late_ = true;
      // Its memory is in use until it ends, which its function's timeout or the lease bounds.
      (void)workers_.wait(*call, base::Deadline::none());
    }
    item->reply = call->reply;
    if (call->reply.ok()) {
      ++report_.ok;
    } else {
      ++report_.failed;
      if (report_.first_error.empty()) report_.first_error = call->error;
    }
    workers_.recycle(call);
  }

  Workers& workers_;
  std::span<BatchItem> items_;
  base::Deadline deadline_;
  std::deque<Item> under_way_;
  bool late_ = false;
  BatchReport report_;
};

}  // namespace

Result<BatchReport> run_batch(Workers& workers, const std::string& name, std::uint16_t function,
                              bool idempotent, std::span<BatchItem> items,
                              std::chrono::nanoseconds limit) {
  Batch batch(workers, items, base::Deadline::after(limit));
  batch.run(function, idempotent);
  if (batch.late()) {
    return fail(ErrorKind::kDisconnected, "a batch of " + std::to_string(items.size()) +
                                              " calls of '" + name +
                                              "' did not end within its limit; " +
                                              std::to_string(batch.report().ok) + " ended well");
  }
  return batch.report();
}

}  // namespace sublet::client
