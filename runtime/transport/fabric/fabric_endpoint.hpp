#pragma once

// HOT-PATH BUDGET  post: one libfabric call for a small message, and for a large one where the
// provider takes two remote places in one operation; two otherwise. progress: one libfabric call.
// No allocation, lock or system call of our own; what the provider does is its own (the tcp
// provider: one sendmsg for a post, one or two system calls for a progress).

#include <transport/fabric/fabric_provider.hpp>

#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_rma.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sublet::transport::fabric {

/// An operation under way. The provider uses `context` until it has completed.
struct Operation {
  fi_context2 context{};
  bool under_way = false;  ///< Only told for operations that ask for a completion.
};

/// What the provider needs for the two parts of a message until both have left.
struct MessageOperations {
  Operation payload;
  Operation head;
};

/// Registered memory; the memory itself belongs to somebody else and must live longer.
struct Registration {
  Fid<fid_mr> mr;
  void* descriptor = nullptr;
  Region remote{};  ///< As the peer names it.
};

/// A message: `head` goes to the peer's ring and completes there with `number`; before it,
/// `payload` goes where it belongs.
struct Message {
  const void* head = nullptr;
  std::size_t head_size = 0;
  void* head_descriptor = nullptr;
  std::uint64_t head_address = 0;
  std::uint64_t head_key = 0;

  const void* payload = nullptr;
  std::size_t payload_size = 0;
  void* payload_descriptor = nullptr;
  std::uint64_t payload_address = 0;
  std::uint64_t payload_key = 0;

  std::uint32_t number = 0;
  MessageOperations* operations = nullptr;
};

/// An endpoint with its own domain and completion queue. Owner: one channel. One thread at a time,
/// which need not be the same one.
class Endpoint {
 public:
  /// The domain and its queues, for so many slots. The endpoint itself comes with connect_to or
  /// accept.
  static Result<std::unique_ptr<Endpoint>> open(std::shared_ptr<const Provider> provider,
                                                std::uint32_t slots);
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  ~Endpoint() = default;

  /// Makes the endpoint: of a connection request, or (null) one of the provider's kind.
  Result<void> create(fi_info* request);

  /// kConnected: starts to connect, presenting `nonce`.
  Result<void> connect_to(std::span<const std::byte> address, const Nonce& nonce);
  Result<void> accept();
  /// kConnected: true once the connection is there; waits at most for so long.
  Result<bool> connected(std::chrono::milliseconds limit);
  /// Readable when connected() has something to find out; -1 when there is none.
  [[nodiscard]] int event_fd() const noexcept { return event_fd_; }

  /// kConnectionless: the own address, and the peer's.
  Result<std::vector<std::byte>> address() const;
  Result<void> set_peer(std::span<const std::byte> address);

  /// Makes memory usable for all local operations and for the peer's `remote_access` (FI_REMOTE_*).
  Result<Registration> register_memory(void* memory, std::size_t size, std::uint64_t remote_access);
  /// Registering takes memory from the system for good.
  [[nodiscard]] bool registering_pins() const noexcept {
    return (provider_->info->domain_attr->mr_mode & FI_MR_ALLOCATED) != 0;
  }

  [[nodiscard]] const Provider& provider() const noexcept { return *provider_; }
  /// Readable when there may be completions; -1 when the provider has no such thing.
  [[nodiscard]] int wait_fd() const noexcept { return wait_fd_; }
  /// True when wait_fd() may be waited for; false: progress() first.
  [[nodiscard]] bool may_wait() const noexcept;

  /// The endpoint has been made.
  [[nodiscard]] bool ready() const noexcept { return endpoint_ != nullptr; }
  /// kConnected: true once the connection has ended, which providers need not tell in completions.
  /// What came before may still be in progress(). About a system call: not on the hot path.
  [[nodiscard]] bool has_ended() noexcept;
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
        return static_cast<int>(fi_inject_writedata(endpoint_.get(), message.head,
                                                    message.head_size, message.number, peer_,
                                                    message.head_address, message.head_key));
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

 private:
  explicit Endpoint(std::shared_ptr<const Provider> provider);
  Result<void> open_queues(std::uint32_t slots);
  [[nodiscard]] int post_head(const Message& message, bool tell, std::uint64_t flags) noexcept;
  [[nodiscard]] int post_with_payload(const Message& message, bool tell) noexcept;
  [[nodiscard]] int write_payload(const Message& message, std::uint64_t flags) noexcept;
  [[nodiscard]] bool ordered(std::size_t size) const noexcept { return size <= ordered_size_; }
  void read_error() noexcept;
  [[nodiscard]] int receive_data(void* operation) noexcept;

  static constexpr std::size_t kEntries = 16;

  std::shared_ptr<const Provider> provider_;
  // Closed in reverse: the endpoint first, the domain last.
  Fid<fid_domain> domain_;
  Fid<fid_cq> completions_;
  Fid<fid_eq> events_;
  Fid<fid_av> addresses_;
  Fid<fid_ep> endpoint_;
  fi_addr_t peer_ = FI_ADDR_UNSPEC;
  std::size_t inject_size_ = 0;
  std::size_t ordered_size_ = 0;
  bool joined_ = false;         ///< Payload and head go in one operation.
  bool fences_ = false;         ///< The provider has FI_FENCE.
  bool receives_data_ = false;  ///< A message of the peer's takes a posted receive (FI_RX_CQ_DATA).
  bool broken_ = false;
  bool ended_ = false;
  int wait_fd_ = -1;
  int event_fd_ = -1;
  std::uint32_t slots_ = 0;
  std::vector<Operation> receives_;
};

template <class Arrived>
inline bool Endpoint::progress(Arrived&& arrived) noexcept {
  std::array<fi_cq_data_entry, kEntries> entries;
  const ssize_t count = fi_cq_read(completions_.get(), entries.data(), entries.size());
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
