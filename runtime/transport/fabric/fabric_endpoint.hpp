#pragma once

#include <transport/fabric/fabric_registration.hpp>
#include <transport/fabric/fabric_transfers_datapath.hpp>

#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace sublet::transport::fabric {

/// An endpoint with its own domain and completion queue: how it is made and joined to its peer.
/// What it then does is in Transfers. Owner: one channel. One thread at a time, which need not be
/// the same one.
class Endpoint : public Transfers {
 public:
  /// The domain and its queues, for that many slots. The endpoint itself comes with connect_to or
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
  /// kConnected: true once the connection is there; waits at most that long.
  Result<bool> connected(std::chrono::milliseconds limit);
  /// Readable when connected() has something to find out; -1 when there is none.
  [[nodiscard]] int event_fd() const noexcept { return event_fd_; }

  /// kConnectionless: the own address, and the peer's.
  Result<std::vector<std::byte>> address() const;
  Result<void> set_peer(std::span<const std::byte> address);

  /// Makes memory usable for all local operations and for the peer's `remote_access` (FI_REMOTE_*).
  Result<Registration> register_memory(void* memory, std::size_t size,
                                       std::uint64_t remote_access) {
    return fabric::register_memory(*provider_, *domain_, *endpoint_, memory, size, remote_access);
  }
  /// Registering takes memory from the system for good.
  [[nodiscard]] bool registering_pins() const noexcept {
    return (provider_->info->domain_attr->mr_mode & FI_MR_ALLOCATED) != 0;
  }

  [[nodiscard]] const Provider& provider() const noexcept { return *provider_; }

  /// The endpoint has been made.
  [[nodiscard]] bool ready() const noexcept { return endpoint_ != nullptr; }
  /// kConnected: true once the connection has ended, which providers need not tell in completions.
  /// What came before may still be in progress(). About a system call: not on the hot path.
  [[nodiscard]] bool has_ended() noexcept;

 private:
  Endpoint(std::shared_ptr<const Provider> provider, std::uint32_t slots);
  Result<void> open_queues();

  std::shared_ptr<const Provider> provider_;
  // Closed in reverse: the endpoint first, the domain last.
  Fid<fid_domain> domain_;
  Fid<fid_cq> completions_;
  Fid<fid_eq> events_;
  Fid<fid_av> addresses_;
  Fid<fid_ep> endpoint_;
  bool ended_ = false;
  int event_fd_ = -1;
  std::uint32_t slots_ = 0;
  std::vector<Operation> receives_;
};

}  // namespace sublet::transport::fabric
