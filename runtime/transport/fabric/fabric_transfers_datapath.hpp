#pragma once

// HOT-PATH BUDGET  post: one libfabric call for a small message, and for a large one where the
// provider takes two remote places in one operation; two otherwise. progress: one libfabric call.
// No allocation, lock or system call of our own; what the provider does is its own (the tcp
// provider: one sendmsg for a post, one or two system calls for a progress).

#include <transport/fabric/fabric_message.hpp>
#include <transport/fabric/fabric_provider.hpp>

#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_rma.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sublet::transport::fabric {

/// What goes over an endpoint, and its completions. Owner: the endpoint. One thread at a time,
/// which need not be the same one.
class Transfers {
 public:
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  /// Readable when there may be completions; -1 when the provider has no such thing.
  [[nodiscard]] int wait_fd() const noexcept { return wait_fd_; }
  /// True when wait_fd() may be waited for; false: progress() first.
  [[nodiscard]] bool may_wait() const noexcept;

  [[nodiscard]] bool broken() const noexcept { return broken_; }
  /// The channel has found that it cannot go on: broken() from now on. `error` is libfabric's, or
  /// 0.
  void break_off(const char* attempt, int error) noexcept;

  /// Reads completions; `arrived(number)` for each message of the peer. True when there were any.
  template <class Arrived>
  bool progress(Arrived&& arrived) noexcept;

  /// Sends a message. 0; -FI_EAGAIN when there is no room now: progress(), and again with the same
  /// message; another error: broken. With `tell` operations->head is under way until the message
  /// has left this process.
  [[nodiscard]] int post(const Message& message, bool tell) noexcept {
    if (message.payload_size == 0) {
      if (fits_inject(message.head_size) && !tell) [[likely]] {
        return static_cast<int>(fi_inject_writedata(handle_, message.head, message.head_size,
                                                    message.number, peer_, message.head_address,
                                                    message.head_key));
      }
      return post_head(message, tell, 0);
    }
    return post_with_payload(message, tell);
  }

  /// Small enough to leave at once, without an operation that completes.
  [[nodiscard]] bool fits_inject(std::size_t size) const noexcept { return size <= inject_size_; }

  /// Starts to read from the peer's memory; completes in `operation`.
  [[nodiscard]] int read(void* to, std::size_t size, void* descriptor, std::uint64_t address,
                         std::uint64_t key, Operation& operation) noexcept;

  /// Whether a payload of this size must have arrived (see place()) before its message is posted.
  [[nodiscard]] bool must_place_first(std::size_t size) const noexcept {
    return !joined_ && !ordered(size) && !fences_;
  }
  /// Writes the payload alone; operations->payload is under way until it is in the peer's memory.
  [[nodiscard]] int place(const Message& message) noexcept;

 protected:
  explicit Transfers(const Provider& provider);
  ~Transfers() = default;

  static constexpr std::size_t kEntries = 16;

  [[nodiscard]] int receive_data(void* operation) noexcept;

  // Set by the endpoint, which owns them.
  fid_cq* queue_ = nullptr;
  fid_ep* handle_ = nullptr;
  fi_addr_t peer_ = FI_ADDR_UNSPEC;
  std::size_t inject_size_ = 0;
  std::size_t ordered_size_ = 0;
  bool joined_ = false;         ///< Payload and head go in one operation.
  bool fences_ = false;         ///< The provider has FI_FENCE.
  bool receives_data_ = false;  ///< A message of the peer's takes a posted receive (FI_RX_CQ_DATA).
  int wait_fd_ = -1;

 private:
  [[nodiscard]] int post_head(const Message& message, bool tell, std::uint64_t flags) noexcept;
  [[nodiscard]] int post_with_payload(const Message& message, bool tell) noexcept;
  [[nodiscard]] int write_payload(const Message& message, std::uint64_t flags) noexcept;
  [[nodiscard]] bool ordered(std::size_t size) const noexcept { return size <= ordered_size_; }
  void read_error() noexcept;

  fid_fabric* fabric_;
  bool broken_ = false;
};

template <class Arrived>
inline bool Transfers::progress(Arrived&& arrived) noexcept {
  std::array<fi_cq_data_entry, kEntries> entries;
  const ssize_t count = fi_cq_read(queue_, entries.data(), entries.size());
  if (count <= 0) {
    if (count != 0 && count != -FI_EAGAIN) [[unlikely]]
      read_error();
    return false;
  }
  for (ssize_t i = 0; i < count; ++i) {
    const fi_cq_data_entry& entry = entries[static_cast<std::size_t>(i)];
    if ((entry.flags & FI_REMOTE_CQ_DATA) != 0) {
      arrived(static_cast<std::uint32_t>(entry.data));
      if (receives_data_ && receive_data(entry.op_context) != 0) broken_ = true;
    } else if (entry.op_context != nullptr) {
      static_cast<Operation*>(entry.op_context)->under_way = false;
    }
  }
  return true;
}

}  // namespace sublet::transport::fabric
