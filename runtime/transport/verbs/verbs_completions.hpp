#pragma once

// HOT-PATH BUDGET  poll: one atomic exchange and one store, ibv_poll_cq, and for each completion a
// look into a table. No allocation, system call or virtual call; the lock is only ever tried.

#include <transport/verbs/verbs_objects.hpp>
#include <transport/verbs/verbs_tuning.hpp>
#include <transport/verbs/verbs_wire.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace sublet::transport::verbs {

class ClientLink;

/// The completion queue of one client thread on one device, shared by all its queue pairs: waiting
/// for one call collects the replies of all others on the way.
///
/// Owner: its channels, shared. Made for the thread that opens the channels, and fastest when that
/// thread uses them; another may as well: whoever polls hands each completion to its channel, and
/// who finds another polling looks again. A sleeper whose reply another thread has collected wakes
/// with the end of its slice.
class Completions {
 public:
  /// The calling thread's, with room for a queue pair of `depths`.
  static Result<std::shared_ptr<Completions>> of_this_thread(ibv_context* device,
                                                             const QueueDepths& depths);

  Completions(WakeChannel channel, Queue queue, std::uint32_t capacity)
      : channel_(std::move(channel)), queue_(std::move(queue)), capacity_(capacity) {}
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;
  ~Completions();

  [[nodiscard]] ibv_cq* queue() const noexcept { return queue_.get(); }

  /// Its completions carry the number that is returned in their wr_id, see work_id(). Room for it
  /// was found by of_this_thread().
  std::uint32_t add(ClientLink& link);
  /// Its queue pair has been destroyed. Afterwards nothing calls the link any more.
  void remove(std::uint32_t number, std::uint32_t completions) noexcept;

  [[nodiscard]] static std::uint64_t work_id(std::uint32_t number, bool is_receive) noexcept {
    return std::uint64_t{number} << 1 | std::uint64_t{is_receive};
  }

  /// Takes what is there off the queue and gives it to the channels. False when there was nothing.
  bool poll() noexcept;

  /// Sleeps until a completion may be there that `ready()` does not know of, `other_fd` is
  /// readable, or `limit` is over.
  template <class Ready>
  void sleep_unless(int other_fd, std::chrono::nanoseconds limit, Ready&& ready) noexcept {
    if (!arm()) return;
    // What came before the queue was armed raises no event: look once more.
    while (poll()) {
    }
    if (!ready()) await_event(other_fd, limit);
  }

 private:
  void lock() noexcept;
  void unlock() noexcept { polling_.store(false, std::memory_order_release); }
  /// With the lock. Gives some completions to their channels and says how many.
  int take() noexcept;
  [[nodiscard]] bool arm() noexcept;
  void await_event(int other_fd, std::chrono::nanoseconds limit) noexcept;
  [[nodiscard]] bool reserve(std::uint32_t completions) noexcept;

  WakeChannel channel_;
  Queue queue_;
  const std::uint32_t capacity_;
  std::atomic<bool> polling_{false};  ///< Guards queue_'s consumer side and links_.
  std::vector<ClientLink*> links_;    ///< By number; null where one has gone.
  std::atomic<bool> armed_{false};
  std::atomic<std::uint32_t> reserved_{0};
  std::mutex events_;
  unsigned unacknowledged_ = 0;  ///< Guarded by events_.
};

}  // namespace sublet::transport::verbs
