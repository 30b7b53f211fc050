#pragma once

// HOT-PATH BUDGET  poll: one ibv_poll_cq, decoding of one immediate word, at most 48 bytes copied.
// complete: at most 40 bytes copied, one ibv_post_send of one work request. Receives are posted
// again half a ring at a time, and one send in half a ring is signalled. No allocation, lock or
// virtual call; no system call of ours. Inputs beyond a slot and outputs beyond kSlotOutput take
// the slow path: memory is found and registered for them when they first come, an input is fetched,
// and the reply's end is awaited before its buffer is used again.

#include <transport/common/inline_copy.hpp>
#include <transport/common/request_check.hpp>
#include <transport/contract.hpp>
#include <transport/verbs/verbs_bulk.hpp>
#include <transport/verbs/verbs_server_parts.hpp>
#include <transport/verbs/verbs_tuning.hpp>
#include <transport/verbs/verbs_wire.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <vector>

namespace sublet::transport::verbs {

/// The worker's end of a channel. Owner: the executor; used by one worker thread, interrupt() and
/// retire() by any. It stays open until it is interrupted: when the queue pair fails it tells the
/// listener, which names the worker as ended.
class ServerChannel {
 public:
  static constexpr std::chrono::nanoseconds kContendedSpin = verbs::kContendedSpin;

  /// The queue pair is connected, or about to be, and its receive queue is filled.
  explicit ServerChannel(ServerParts parts);
  ServerChannel(const ServerChannel&) = delete;
  ServerChannel& operator=(const ServerChannel&) = delete;
  ~ServerChannel();

  [[nodiscard]] bool poll(Invocation& invocation) noexcept;
  void complete(const Invocation& invocation, const Completion& completion) noexcept;
  /// Async-signal-safe. See the contract.
  void complete_dying(std::uint32_t sequence, Status status, std::string_view error) noexcept;
  void sleep(std::chrono::nanoseconds limit) noexcept;
  void interrupt() noexcept;
  void retire() noexcept { open_.store(false, std::memory_order_relaxed); }
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_relaxed); }

 private:
  enum class Waiting : std::uint8_t { kNothing, kOutputBuffer, kInput };

  [[nodiscard]] bool take(const ibv_wc& receive, Invocation& invocation) noexcept;
  [[nodiscard]] bool take_bulk(Invocation& invocation) noexcept;
  [[nodiscard]] bool go_on(Invocation& invocation) noexcept;
  [[nodiscard]] bool start_reading() noexcept;
  [[nodiscard]] bool enroll(Bulk& bulk, std::uint64_t size) noexcept {
    return bulk.enroll(parts_.connection->domain.get(), size);
  }
  void other(const ibv_wc& completion) noexcept;
  void collect_completions() noexcept;
  void refill() noexcept;
  void break_off(const char* why) noexcept;
  void post(ibv_send_wr& work, std::uint64_t tag = 0) noexcept;
  void drain() noexcept;
  [[nodiscard]] bool sends_have_ended(std::uint32_t count) const noexcept {
    return static_cast<std::int32_t>(sends_done_ - count) >= 0;
  }
  void reply_with_line(std::uint32_t slot, Status status, std::uint64_t size, std::uint64_t exec_ns,
                       std::string_view error) noexcept;
  void reply_large(const Invocation& invocation, const Completion& completion) noexcept;

  // What the hot path reads, together.
  ibv_cq* queue_;
  ibv_qp* pair_;
  std::byte* memory_;
  std::size_t slot_payload_;
  std::size_t stride_;  ///< Of the requests' slots.
  std::uint64_t outputs_at_;
  std::uint64_t staging_at_;
  std::uint64_t replies_;
  std::uint32_t replies_rkey_;
  std::uint32_t memory_lkey_;
  std::uint32_t mask_;
  std::uint32_t next_ = 1;
  std::uint32_t slot_ = 0;  ///< Of the last request.
  std::uint32_t inline_bytes_;
  std::uint32_t sends_ = 0;
  std::uint32_t sends_done_ = 0;
  std::uint32_t unsignalled_ = 0;
  std::uint32_t receives_used_ = 0;
  int found_ = 0;  ///< Completions in done_, of which the first `used_` have been looked at.
  int used_ = 0;
  Waiting waiting_ = Waiting::kNothing;
  bool broken_ = false;
  bool post_failed_ = false;
  std::atomic<bool> open_{true};
  OutputPlace last_output_{};
  OutputPlace output_{};
  Bulk* output_bulk_ = nullptr;  ///< Where the function writes it; null: in the slot.
  alignas(64) std::array<std::byte, 64> input_{};  ///< The copy of an inline input.
  InlineScratch scratch_;
  ibv_wc* done_;

  QueueDepths depths_;
  std::uint64_t arena_size_;
  base::Ticks dying_ticks_;
  bool dying_ = false;
  Invocation waiting_for_{};
  InputPlace input_place_{};
  std::uint32_t reads_left_ = 0;
  Bulk input_bulk_;
  std::array<Bulk, 2> output_bulks_;  ///< One is written while the other travels.
  bool armed_ = false;
  unsigned unacknowledged_ = 0;
  std::vector<ibv_recv_wr> receives_;
  /// All requests that can be waiting, and what is polled beside them.
  std::vector<ibv_wc> done_storage_;
  ServerParts parts_;
};

inline bool ServerChannel::poll(Invocation& invocation) noexcept {
  if (waiting_ != Waiting::kNothing) [[unlikely]]
    return go_on(invocation);
  if (post_failed_) [[unlikely]]
    break_off("a reply could not be posted");
  if (used_ == found_) {
    used_ = 0;
    found_ = ibv_poll_cq(queue_, kCompletionsPerPoll, done_);
    if (found_ <= 0) {
      found_ = 0;
      return false;
    }
  }
  while (used_ < found_) {
    const ibv_wc& completion = done_[used_++];
    if (completion.status == IBV_WC_SUCCESS && completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM)
        [[likely]] {
      return take(completion, invocation);
    }
    other(completion);
  }
  return false;
}

inline bool ServerChannel::take(const ibv_wc& receive, Invocation& invocation) noexcept {
  if (++receives_used_ == depths_.receives_batch) refill();
  const RequestWord word = RequestWord::decode(ntohl(receive.imm_data));
  const std::uint32_t sequence = next_;
  if (!word.same_slot) slot_ = (slot_ + 1) & mask_;
  const std::byte* const slot = memory_ + slot_ * stride_;
  invocation.sequence = sequence;
  invocation.function = static_cast<std::uint16_t>(word.function);
  invocation.traced = word.traced;
  invocation.verdict = Status::kOk;
  invocation.out_is_inline = word.output <= kInlineBytes;
  std::uint64_t length = receive.byte_len;
  bool is_large = false;
  if (invocation.out_is_inline) {
    invocation.out = scratch_.data();
    invocation.out_capacity = word.output;
  } else {
    if (word.output == kOutputPlaced) {
      std::memcpy(&last_output_, slot + kOutputPlaceAt, sizeof(last_output_));
      length -= sizeof(OutputPlace);  // wraps when it is too short, and is refused below
    }
    output_ = last_output_;
    output_bulk_ = nullptr;
    invocation.out = memory_ + outputs_at_ + slot_ * kSlotOutput;
    invocation.out_capacity = output_.capacity;
    is_large = output_.capacity > kSlotOutput;
  }
  const std::uint64_t most = word.has_input_place ? sizeof(InputPlace) : slot_payload_;
  const bool malformed = word.sequence != (sequence & kSequenceBits) || length > most ||
                         (word.has_input_place && length != sizeof(InputPlace)) ||
                         (word.output > kInlineBytes && word.output < kOutputAsBefore);
  if (malformed) [[unlikely]] {
    break_off("a malformed request");
    return false;
  }
  next_ = sequence + 1;
  invocation.in_size = length;
  if (word.has_input_place) [[unlikely]] {
    std::memcpy(&input_place_, slot + kInputPlaceAt, sizeof(input_place_));
    invocation.in = nullptr;
    invocation.in_size = input_place_.size;
    is_large = true;
  } else if (length <= kInlineBytes) {
    copy_inline(input_.data(), slot + kPayloadAt, length);
    invocation.in = input_.data();
  } else {
    invocation.in = slot + kPayloadAt;
  }
  if (is_large) [[unlikely]] {
    if (!word.has_input_place) input_place_ = {};
    return take_bulk(invocation);
  }
  return true;
}

inline void ServerChannel::post(ibv_send_wr& work, std::uint64_t tag) noexcept {
  ++sends_;
  if (++unsignalled_ >= depths_.signal_every) work.send_flags |= IBV_SEND_SIGNALED;
  if ((work.send_flags & IBV_SEND_SIGNALED) != 0) unsignalled_ = 0;
  work.wr_id = std::uint64_t{sends_} << 32 | tag;
  ibv_send_wr* bad = nullptr;
  if (ibv_post_send(pair_, &work, &bad) != 0) [[unlikely]]
    post_failed_ = true;  // said later: this may be a signal handler
}

inline void ServerChannel::complete(const Invocation& invocation,
                                    const Completion& completion) noexcept {
  const std::uint32_t index = slot_;
  if (completion.status != Status::kOk) [[unlikely]] {
    return reply_with_line(index, completion.status, completion.size, completion.exec_ns,
                           completion.error);
  }
  const std::uint64_t size = std::min(completion.size, invocation.out_capacity);
  ibv_sge piece;
  ibv_send_wr work;
  if (invocation.out_is_inline) {
    std::byte* const stage = memory_ + staging_at_ + index * kReplyStride;
    InlineScratch::copy(stage, invocation.out, size);
    piece.addr = reinterpret_cast<std::uintptr_t>(stage);
    piece.lkey = memory_lkey_;
    work.wr.rdma.remote_addr = replies_ + index * kReplyStride;
    work.wr.rdma.rkey = replies_rkey_;
  } else {
    if (output_bulk_ != nullptr) [[unlikely]]
      return reply_large(invocation, completion);
    piece.addr = reinterpret_cast<std::uintptr_t>(invocation.out);
    piece.lkey = memory_lkey_;
    work.wr.rdma.remote_addr = output_.address;
    work.wr.rdma.rkey = output_.rkey;
  }
  piece.length = static_cast<std::uint32_t>(size);
  work.next = nullptr;
  work.sg_list = &piece;
  work.num_sge = size == 0 ? 0 : 1;
  work.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  work.send_flags =
      size <= inline_bytes_ ? IBV_SEND_SOLICITED | IBV_SEND_INLINE : IBV_SEND_SOLICITED;
  work.imm_data = htonl(ReplyWord::encode(index, false, pack_time(completion.exec_ns)));
  post(work);
}

}  // namespace sublet::transport::verbs
