#pragma once

#include <base/node_identity.hpp>
#include <client/node_link.hpp>
#include <sublet/session.hpp>

#include <memory>
#include <string>
#include <vector>

namespace sublet::client {

/// What a session can ask of the managers. Any thread; all calls block with the session's deadline.
class ControlPlane {
 public:
  ControlPlane(base::NodeIdentity node, std::chrono::milliseconds timeout);
  ~ControlPlane();

  /// Connects to the resource manager at `address`, and checks that it is one.
  Result<void> connect_manager(const std::string& address);

  Result<std::vector<Grant>> request(const LeaseRequest& request);
  Result<std::vector<std::unique_ptr<NodeLink>>> claim(std::vector<Grant> grants,
                                                       std::shared_ptr<LeaseEvents> events);
  /// request and claim in one visit to the helper thread.
  Result<std::vector<std::unique_ptr<NodeLink>>> lease(const LeaseRequest& request,
                                                       std::shared_ptr<LeaseEvents> events);
  Result<std::int64_t> extend(const Grant& grant, std::chrono::seconds duration);
  Result<std::vector<NodeInfo>> nodes();
  Result<std::vector<LeaseInfo>> leases();

  [[nodiscard]] const base::NodeIdentity& node() const noexcept { return node_; }

 private:
  struct Manager;  ///< Lives on the helper thread's loop.
  Result<Manager*> manager() const;

  base::NodeIdentity node_;
  std::shared_ptr<ControlThread> thread_;
  Manager* manager_ = nullptr;
  std::string address_;
};

}  // namespace sublet::client
