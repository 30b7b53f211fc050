#pragma once

#include <client/background.hpp>
#include <client/standins.hpp>
#include <client/workers.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sublet::client {

/// Puts workers of other nodes into the places of those whose node has left or died. They are asked
/// for, and made ready, in the background; step() picks up what has come of it.
///
/// Owner: the lease, whose thread uses it.
class Replacement {
 public:
  /// Finds up to `most` cores and connects to them; runs in the background, may wait.
  using Find = std::function<Result<Standins>(std::size_t most)>;

  Replacement(Background& background, std::shared_ptr<LeaseEvents> events, Find find);

  /// What is to be put into `places`, which want a worker, or nothing yet. Never waits.
  std::optional<Standins> step(Workers& workers, std::size_t places, base::Ticks now);
  /// After step(): `found` could not be used, or lacks functions opened meanwhile; `again` makes it
  /// ready and comes back through step().
  void prepare_again(Standins found, std::function<Result<Standins>(Standins)> again);
  /// Gives back what has been found and not been taken.
  void abandon();

 private:
  /// Written by the background, read by the lease; both may outlive the other.
  struct Mailbox {
    std::mutex mutex;
    std::optional<Result<Standins>> found;
  };
  bool start(std::function<Result<Standins>()> job);
  void not_found(Workers& workers, std::size_t places, base::Ticks now, const std::string& why);

  Background& background_;
  std::shared_ptr<LeaseEvents> events_;
  Find find_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  bool under_way_ = false;
  base::Ticks again_at_ = 0;  ///< After a failure, not before.
  base::Ticks pause_ = 0;     ///< Until the next try.
};

}  // namespace sublet::client
