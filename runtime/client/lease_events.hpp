#pragma once

#include <base/fork_guard.hpp>
#include <base/unforked_memory.hpp>
#include <sublet/lease.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sublet::client {

/// What other threads tell a lease: its user's callbacks, and that something has happened which the
/// thread that uses the lease should look at. Shared by the lease and those who tell; any thread.
class LeaseEvents {
 public:
  LeaseEvents() { take_attention(); }
  /// These two tell `callback` at once what came before anybody wanted to hear it.
  void set_on_ending(std::function<void(const EndingNotice&)> callback);
  void set_on_lost(std::function<void(const std::string&)> callback);
  void ending(const EndingNotice& notice);
  void lost(const std::string& reason);
  /// The lease has more time than the last notice said.
  void extended();

  /// HOT PATH: true when the lease's thread should look after its workers.
  [[nodiscard]] bool attention() const noexcept {
    return !quiet_.front().load(std::memory_order_relaxed);
  }
  /// Pairs with the acquire in take_attention: what the caller wrote before is seen there.
  void call_attention() noexcept;
  /// Before looking: what happens from now on calls again. For the lease's thread.
  void take_attention() noexcept { quiet_.front().exchange(true, std::memory_order_acq_rel); }
  /// For the lease's thread: it wants to look again without having been called.
  void stay_attentive() noexcept { quiet_.front().store(false, std::memory_order_relaxed); }
  /// Sleeps until somebody calls for attention, at most for `limit`.
  void wait(std::chrono::nanoseconds limit) noexcept;

 private:
  using Flags = std::vector<std::atomic<bool>, base::UnforkedAllocator<std::atomic<bool>>>;
  /// One: nobody calls for attention. In a child it is false, so that the lease's calls end there.
  Flags quiet_ = Flags(1);
  base::ForkGuard in_child_{quiet_.front()};
  std::mutex news_mutex_;
  std::condition_variable news_;
  std::uint64_t calls_ = 0;     ///< For attention, by other threads.
  std::uint64_t seen_ = 0;      ///< Of them, by wait().
  std::recursive_mutex mutex_;  ///< Guards the callbacks, which may change themselves.
  std::function<void(const EndingNotice&)> on_ending_;
  std::function<void(const std::string&)> on_lost_;
  struct Untold {
    EndingNotice notice;
    std::chrono::steady_clock::time_point end;
  };
  std::optional<Untold> untold_ending_;
  std::optional<std::string> untold_loss_;
};

}  // namespace sublet::client
