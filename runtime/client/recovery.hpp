#pragma once

#include <client/background.hpp>
#include <client/workers.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sublet::client {

/// Connects workers that are down to the executor that their node's manager has started in place of
/// the one that died. The connecting is done in the background; step() picks up what has come of
/// it.
///
/// Owner: the lease, whose thread uses it.
class Recovery {
 public:
  Recovery(Background& background, std::shared_ptr<LeaseEvents> events,
           std::shared_ptr<transport::Arena> arena, const Timeouts& timeouts);

  /// Never waits.
  void step(Workers& workers, base::Ticks now);

 private:
  /// One worker that is being connected.
  struct Attempt {
    std::uint32_t worker = 0;
    std::shared_ptr<const NodeShare> share;
    Route route;
    std::optional<transport::AnyClientChannel> channel;
    std::string error{};  ///< Why there is none.
  };
  /// Written by the background, read by the lease; both may outlive the other.
  struct Mailbox {
    std::mutex mutex;
    std::vector<Attempt> done;
  };
  struct Underway {
    std::uint32_t worker;
    const NodeShare* share;
  };

  void collect(Workers& workers, base::Ticks now);
  [[nodiscard]] bool under_way(const WorkerLink& link) const;
  void connect(std::vector<Attempt> attempts, Workers& workers, base::Ticks now);
  void not_connected(Workers& workers, base::Ticks now, const std::string& why);

  Background& background_;
  std::shared_ptr<LeaseEvents> events_;
  std::shared_ptr<transport::Arena> arena_;
  const Timeouts& timeouts_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  std::vector<Underway> under_way_;
  base::Ticks again_at_ = 0;  ///< After a failure, not before.
  base::Ticks pause_ = 0;     ///< Until the next try.
};

}  // namespace sublet::client
