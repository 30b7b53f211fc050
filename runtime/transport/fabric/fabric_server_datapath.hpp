#pragma once

// HOT-PATH BUDGET  poll: one libfabric call, and a copy of the request's line when its completion
// was read. complete: the reply is put together in a slot of our own and posted: one libfabric call
// (see fabric_transfers_datapath.hpp). No allocation, lock, log or virtual call of our own.
//
// PROGRESS  Most providers move data only while the worker is in poll, complete or sleep. So a
// large reply leaves this process before the next request is handed out: its client must not wait
// for another call's function.

#include <base/shared_memory.hpp>
#include <transport/common/call_lines.hpp>
#include <transport/contract.hpp>
#include <transport/fabric/fabric_terms.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

namespace sublet::transport::fabric {

/// The worker's end of a channel. Owner: the executor; used by one worker thread, interrupt() and
/// retire() by any.
class ServerChannel {
 public:
  /// `mirror` has the arena's size.
  ServerChannel(Side side, base::SharedMemory mirror);
  ServerChannel(const ServerChannel&) = delete;
  ServerChannel& operator=(const ServerChannel&) = delete;
  ~ServerChannel();

  [[nodiscard]] bool poll(Invocation& invocation) noexcept;
  void complete(const Invocation& invocation, const Completion& completion) noexcept;
  /// Async-signal-safe: says it over the link, without libfabric. See the contract.
  void complete_dying(std::uint32_t sequence, Status status, std::string_view error) noexcept;
  void sleep(std::chrono::nanoseconds limit) noexcept;
  void interrupt() noexcept;
  void retire() noexcept { open_.store(false, std::memory_order_relaxed); }
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] bool arrived() const noexcept { return arrived_[next_ & mask_] == next_; }
  void progress() noexcept {
    side_.endpoint->progress(
        [this](std::uint32_t number) noexcept { arrived_[number & mask_] = number; });
    if (side_.endpoint->broken()) [[unlikely]]
      open_.store(false, std::memory_order_relaxed);
  }
  void look_at_connection() noexcept;
  [[nodiscard]] bool fetch() noexcept;
  [[nodiscard]] bool cover(std::uint64_t end) noexcept;
  void adopt(const Region& arena) noexcept;
  /// What of the mirror a request may name: no further than what the client has told where it is.
  [[nodiscard]] ArenaRange usable() const noexcept { return {mirror_.data(), arena_.size}; }
  [[nodiscard]] bool attach_output(const Invocation& invocation, std::uint64_t size,
                                   Message& message) noexcept;
  void post(const Message& message) noexcept;

  /// Polls in vain between two looks at the connection: some milliseconds.
  static constexpr std::uint32_t kPollsPerEvent = 4096;

  base::SharedMemory mirror_;  ///< Unmapped after the endpoint is closed.
  Side side_;
  ReplySlot* replies_;
  const RequestSlot* requests_;
  Region arena_;
  std::uint32_t mask_;
  std::uint32_t next_ = 1;
  bool tell_region_ = false;  ///< The client does not know the last region of the mirror yet.
  std::atomic<bool> open_{true};
  std::uint32_t idle_polls_ = 0;
  const Operation* awaited_ = nullptr;  ///< No request is handed out before it has completed.
  RequestSlot request_{};               ///< The copy that is checked and used.
  InlineScratch scratch_;
  std::vector<std::uint32_t> arrived_;  ///< Per slot, the last call whose completion was read.
  std::vector<MessageOperations> operations_;
  Operation fetching_;
  bool fetched_ = false;  ///< The input of the next request is in the mirror now.
  base::Fd interrupted_;
};

inline bool ServerChannel::poll(Invocation& invocation) noexcept {
  if (!arrived() || awaited_ != nullptr) {
    progress();
    if (awaited_ != nullptr) {
      if (awaited_->under_way) return false;
      awaited_ = nullptr;
    }
    if (!arrived()) {
      if (++idle_polls_ % kPollsPerEvent == 0) [[unlikely]]
        look_at_connection();
      return false;
    }
  }
  if (!fetched_) {
    std::memcpy(&request_, &requests_[next_ & mask_], sizeof(request_));
    // The compiler must not read the client's memory again after the checks.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const std::uint16_t flags = request_.line.flags;
    if ((flags & (kFetch | kNewRegion)) != 0) [[unlikely]] {
      if ((flags & kNewRegion) != 0) adopt(request_.arena);
      if ((flags & kFetch) != 0 && !fetch()) return false;
    }
  }
  fetched_ = false;
  check_line(request_.line, next_, usable(), scratch_, invocation);
  if (request_.line.sequence != next_) [[unlikely]]
    refuse(invocation);
  ++next_;
  return true;
}

inline void ServerChannel::complete(const Invocation& invocation,
                                    const Completion& completion) noexcept {
  const std::uint32_t index = invocation.sequence & mask_;
  ReplySlot& slot = replies_[index];
  ReplyLine& line = slot.line;
  Message message;
  message.head_size = kHeadBytes;
  line.sequence = invocation.sequence;
  line.status = static_cast<std::uint8_t>(completion.status);
  line.flags = 0;
  line.error_size = 0;
  line.size = completion.size;
  line.exec_ns = completion.exec_ns;
  message.head = &slot;
  message.head_descriptor = side_.ring_memory.descriptor;
  message.head_address = side_.peer.ring.address + index * sizeof(ReplySlot);
  message.head_key = side_.peer.ring.key;
  message.number = invocation.sequence;
  message.operations = &operations_[index];
  if (completion.status == Status::kOk) [[likely]] {
    if (invocation.out_is_inline) {
      InlineScratch::copy(line.body.data(), invocation.out, completion.size);
      message.head_size += std::min<std::uint64_t>(completion.size, kInlineBytes);
    } else if (completion.size != 0 && !attach_output(invocation, completion.size, message)) {
      return;
    }
  } else {
    const std::size_t size = std::min(completion.error.size(), slot.error.size());
    std::memcpy(slot.error.data(), completion.error.data(), size);
    line.error_size = static_cast<std::uint16_t>(size);
    message.head_size = offsetof(ReplySlot, error) + size;
  }
  if (tell_region_) [[unlikely]] {
    tell_region_ = false;
    line.flags = kNewRegion;
    slot.mirror = side_.payload_memory.back().remote;
    message.head_size = std::max(message.head_size, offsetof(ReplySlot, error));
  }
  post(message);
}

}  // namespace sublet::transport::fabric
