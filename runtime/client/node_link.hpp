#pragma once

#include <client/node_state.hpp>
#include <sublet/lease.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sublet::client {

class ControlThread;
struct Claimed;
struct NodeRemote;

/// A function as an executor manager is asked to open it.
struct FunctionRequest {
  std::uint16_t index = 0;
  std::string name;
  std::string library;  ///< For messages.
  std::array<std::uint8_t, 32> sha256{};
  std::chrono::milliseconds timeout{0};
};

/// A claimed grant: the control side of one node's share of a lease. Dropping it gives the share
/// back. One thread at a time; all calls block, each at most for the session's timeout.
class NodeLink {
 public:
  NodeLink(std::shared_ptr<ControlThread> thread, Claimed claimed);
  ~NodeLink();
  NodeLink(const NodeLink&) = delete;
  NodeLink& operator=(const NodeLink&) = delete;

  [[nodiscard]] const std::shared_ptr<const NodeShare>& share() const noexcept { return share_; }
  [[nodiscard]] const Grant& grant() const noexcept { return share_->grant; }
  [[nodiscard]] NodeState& state() const noexcept { return *share_->state; }

  /// False: the node does not have the library's content; install() it and open again.
  Result<bool> open(const FunctionRequest& function);
  Result<void> install(std::span<const std::byte> content,
                       const std::array<std::uint8_t, 32>& sha256);
  Result<Usage> usage();
  /// More time for what the node has leased by itself; see ControlPlane::extend for others.
  Result<std::int64_t> extend(std::chrono::seconds duration);
  void release() noexcept;

 private:
  std::shared_ptr<ControlThread> thread_;
  std::shared_ptr<const NodeShare> share_;
  NodeRemote* remote_;
};

}  // namespace sublet::client
