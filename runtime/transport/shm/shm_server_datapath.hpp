#pragma once

// HOT-PATH BUDGET  poll: one line read (the request; a miss when it is new). complete: one line
// written (the reply), one line read that nobody else writes (the client's sleep word). No
// allocation, lock, system call or virtual call.

#include <base/clock.hpp>
#include <base/shared_memory.hpp>
#include <transport/contract.hpp>
#include <transport/shm/shm_first_look.hpp>
#include <transport/shm/shm_sleep.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

namespace sublet::transport::shm {

/// The worker's end of a channel. Owner: the executor; used by one worker thread, interrupt() by
/// any.
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
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_relaxed); }

 private:
  void decode(Invocation& invocation) noexcept;
  /// A request that breaks the rules names no memory: nobody can use it by mistake.
  static void reject(Invocation& invocation) noexcept;
  /// Where the offset at `where` in the request points; a bad one turns the verdict to kInvalid.
  [[nodiscard]] std::byte* in_arena(std::size_t where, std::uint64_t size,
                                    Status& verdict) const noexcept {
    std::uint64_t offset;
    std::memcpy(&offset, request_.body.data() + where, sizeof(offset));
    if (offset <= arena_size_ && size <= arena_size_ - offset) return arena_base_ + offset;
    verdict = Status::kInvalid;
    return nullptr;
  }
  [[nodiscard]] std::uint16_t write_error(std::string_view error) noexcept;
  [[nodiscard]] std::uint32_t slot_after() const noexcept { return (slot_ + 1) & mask_; }
  [[nodiscard]] bool requested(std::uint32_t slot) const noexcept {
    return load_acquire(ring_[slot].request.sequence) == (next_ | kRequestMark);
  }

  Slot* ring_;
  SleepWord* client_sleep_;
  std::byte* arena_base_;
  std::uint64_t arena_size_;
  std::uint32_t mask_;
  std::uint32_t next_;
  std::uint32_t slot_ = 0;   ///< Of the last request.
  std::uint32_t quiet_ = 0;  ///< Polls until the first look at that slot.
  std::uint32_t looks_ = 0;  ///< At that slot, since the last reply.
  FirstLook first_look_;
  FenceMode fences_;
  std::atomic<bool> open_{true};
  RequestLine request_{};  ///< The copy that is checked and used.
  alignas(64) std::array<std::byte, 64> scratch_{};

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
  decode(invocation);
  next_ = sequence_after(next_);
  return true;
}

inline void ServerChannel::decode(Invocation& invocation) noexcept {
  invocation.sequence = next_;
  invocation.function = request_.function;
  invocation.in_size = request_.in_size;
  invocation.out_capacity = request_.out_capacity;
  invocation.traced = (request_.flags & kTraced) != 0;
  invocation.out_is_inline = (request_.flags & kOutputInline) != 0;
  invocation.verdict = Status::kOk;

  std::size_t inline_room = kInlineBytes;
  if (invocation.out_is_inline) {
    invocation.out = scratch_.data();
    if (request_.out_capacity > kInlineBytes) invocation.verdict = Status::kInvalid;
  } else {
    invocation.out = in_arena(kOutputOffsetAt, request_.out_capacity, invocation.verdict);
    inline_room = kInlineBytesBesideOffset;
  }
  if ((request_.flags & kInputInline) != 0) {
    invocation.in = request_.body.data();
    if (request_.in_size > inline_room) invocation.verdict = Status::kInvalid;
  } else {
    invocation.in = in_arena(kInputOffsetAt, request_.in_size, invocation.verdict);
  }
  if (invocation.verdict != Status::kOk) [[unlikely]]
    reject(invocation);
}

namespace detail {

/// Copies up to kInlineBytes, rounded up to whole words: both sides have room for that. In words
/// because the function has just written them: a wider load would have to wait until its narrower
/// stores have left the store buffer (15 to 20 cycles on every call).
inline void copy_words(std::byte* to, const std::byte* from, std::uint64_t size) noexcept {
  const std::uint64_t end = std::min<std::uint64_t>(size, kInlineBytes);
  for (std::uint64_t at = 0; at < end; at += sizeof(std::uint64_t)) {
    std::memcpy(to + at, from + at, sizeof(std::uint64_t));
  }
}

}  // namespace detail

inline void ServerChannel::complete(const Invocation& invocation,
                                    const Completion& completion) noexcept {
  Slot& slot = ring_[slot_];
  ReplyLine& line = slot.reply;
  line.status = static_cast<std::uint8_t>(completion.status);
  line.size = completion.size;
  line.exec_ns = completion.exec_ns;
  if (invocation.out_is_inline && completion.status == Status::kOk) {
    detail::copy_words(line.body.data(), static_cast<const std::byte*>(invocation.out),
                       completion.size);
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
