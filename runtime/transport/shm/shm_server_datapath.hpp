#pragma once

// HOT-PATH BUDGET  poll: one line read (the request; a miss when it is new). complete: one line
// written (the reply), one line read that nobody else writes (the client's sleep word). No
// allocation, lock, system call or virtual call.

#include <base/clock.hpp>
#include <base/shared_memory.hpp>
#include <transport/common/call_lines.hpp>
#include <transport/contract.hpp>
#include <transport/shm/shm_first_look.hpp>
#include <transport/shm/shm_sleep.hpp>

#include <atomic>
#include <cstring>
#include <memory>

namespace sublet::transport::shm {

/// The worker's end of a channel. Owner: the executor; used by one worker thread, interrupt() and
/// retire() by any.
class ServerChannel {
 public:
  /// `memory` has Layout{terms.slots}.size() bytes.
  ServerChannel(std::shared_ptr<base::SharedMemory> memory,
                std::shared_ptr<const base::SharedMemory> arena, const Terms& terms);

  [[nodiscard]] bool poll(Invocation& invocation) noexcept;
  void complete(const Invocation& invocation, const Completion& completion) noexcept;
  /// Async-signal-safe. See the contract.
  void complete_dying(std::uint32_t sequence, Status status, std::string_view error) noexcept;
  void sleep(std::chrono::nanoseconds limit) noexcept;
  void interrupt() noexcept;
  void retire() noexcept { open_.store(false, std::memory_order_relaxed); }
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] std::uint16_t write_error(std::string_view error) noexcept;
  [[nodiscard]] std::uint32_t slot_after() const noexcept { return (slot_ + 1) & mask_; }
  [[nodiscard]] bool requested(std::uint32_t slot) const noexcept {
    return load_acquire(ring_[slot].request.sequence) == (next_ | kRequestMark);
  }

  Slot* ring_;
  SleepWord* client_sleep_;
  ArenaRange arena_range_;
  std::uint32_t mask_;
  std::uint32_t next_;
  std::uint32_t slot_ = 0;   ///< Of the last request.
  std::uint32_t quiet_ = 0;  ///< Polls until the first look at that slot.
  std::uint32_t looks_ = 0;  ///< At that slot, since the last reply.
  FirstLook first_look_;
  FenceMode fences_;
  std::atomic<bool> open_{true};
  RequestLine request_{};  ///< The copy that is checked and used.
  InlineScratch scratch_;

  SleepWord* worker_sleep_;
  std::shared_ptr<base::SharedMemory> memory_;
  std::shared_ptr<const base::SharedMemory> arena_;
};

inline bool ServerChannel::poll(Invocation& invocation) noexcept {
  if (requested(slot_after())) {
    slot_ = slot_after();
    // With a window open the next request is mostly there.
    base::prefetch_for_write(&ring_[slot_after()]);
  } else {
    if (quiet_ != 0) {
      --quiet_;
      return false;
    }
    // The line is about to be written here, too: it comes over in one transfer, not in two.
    base::prefetch_for_write(&ring_[slot_]);
    if (!requested(slot_)) {
      ++looks_;
      return false;
    }
    first_look_.found(looks_);
  }
  std::memcpy(&request_, &ring_[slot_].request, sizeof(request_));
  // The compiler knows that the copy equals its source and could read the source again after the
  // checks; this forbids it.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  check_line(request_, next_, arena_range_, scratch_, invocation);
  next_ = sequence_after(next_);
  return true;
}

inline void ServerChannel::complete(const Invocation& invocation,
                                    const Completion& completion) noexcept {
  Slot& slot = ring_[slot_];
  ReplyLine& line = slot.reply;
  line.status = static_cast<std::uint8_t>(completion.status);
  line.size = completion.size;
  line.exec_ns = completion.exec_ns;
  if (invocation.out_is_inline && completion.status == Status::kOk) {
    InlineScratch::copy(line.body.data(), invocation.out, completion.size);
  }
  line.error_size = 0;
  if (completion.status != Status::kOk) [[unlikely]] {
    line.error_size = write_error(completion.error);
  }
  if (invocation.traced) {
    slot.started = completion.started;
    slot.ended = completion.ended;
  }
  store_release(line.sequence, invocation.sequence);
  quiet_ = first_look_.gaps();
  looks_ = 0;
  wake_if_sleeping(*client_sleep_, fences_);
}

}  // namespace sublet::transport::shm
