#pragma once

#include "dice.hpp"
#include "network.hpp"
#include "process.hpp"
#include "trace.hpp"
#include "virtual_time.hpp"
#include <wire/trust.hpp>

#include <kj/async.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace sublet::sim {

/// What all parts of a simulation share: one event loop, one time, one network, one source of
/// chance. While it lives libsodium's random numbers are its dice's too.
///
/// Owner: the cluster; outlives its parts. One thread; one at a time.
class World final : private kj::TaskSet::ErrorHandler {
 public:
  explicit World(std::uint64_t seed);
  ~World() noexcept(false);
  KJ_DISALLOW_COPY(World);

  Process& new_process(const std::string& name, const std::string& machine, std::uint32_t uid,
                       milliseconds clock_error = {});

  /// Runs beside everything else.
  void spawn(kj::Promise<void> task) { tasks_.add(kj::mv(task)); }
  /// Something has happened.
  void note(std::string_view what) { trace.note(time.elapsed(), what); }
  /// Something has happened that must not. The first counts.
  void broken(const std::string& what);
  [[nodiscard]] const std::optional<std::string>& failure() const noexcept { return failure_; }
  /// Lets so much time pass, and all that happens in it.
  void pass(std::chrono::nanoseconds duration);

  /// Something that must end, within so long from now, for as long as the result lives.
  [[nodiscard]] kj::Own<void> wait_for(std::string what, std::chrono::nanoseconds limit);
  /// Breaks when one has not; also when one that had begun by `begun` goes on.
  void check_waits(std::chrono::nanoseconds begun = std::chrono::nanoseconds(-1));

  // In the order in which they need one another: what the loop's end still touches comes first.
  VirtualTime time;
  Dice dice;
  Trace trace;
  Network network{*this};
  const std::shared_ptr<const wire::Trust> trust = wire::Trust::load({});

 private:
  void taskFailed(kj::Exception&& exception) override;

  struct Waiting {
    std::string what;
    std::chrono::nanoseconds since;
    std::chrono::nanoseconds until;
  };
  std::map<std::uint64_t, Waiting> waiting_;
  std::uint64_t next_wait_ = 0;
  std::deque<std::unique_ptr<Process>> processes_;
  std::optional<std::string> failure_;

 public:
  kj::EventLoop loop{time};
  kj::WaitScope scope{loop};

 private:
  kj::TaskSet tasks_{*this};
};

}  // namespace sublet::sim
