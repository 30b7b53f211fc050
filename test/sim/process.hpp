#pragma once

#include "virtual_time.hpp"

#include <kj/async-io.h>
#include <kj/timer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::sim {

class World;
class Wire;

/// What lives, stops and dies together: one run of a manager or a client. It has a timer that
/// stands still while it is stopped, a clock of its own, and a network that knows who it is.
///
/// Owner: the world, to its end. On the loop.
class Process final : private kj::Timer, private kj::Network {
 public:
  Process(World& world, std::string name, std::string machine, std::uint32_t uid,
          milliseconds clock_error);
  KJ_DISALLOW_COPY(Process);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// What it runs on: connections are cut by machines.
  [[nodiscard]] const std::string& machine() const noexcept { return machine_; }
  [[nodiscard]] std::uint32_t uid() const noexcept { return uid_; }
  [[nodiscard]] kj::Timer& timer() noexcept { return *this; }
  [[nodiscard]] kj::Network& network() noexcept { return *this; }
  [[nodiscard]] Time clock() const;
  [[nodiscard]] bool alive() const noexcept { return alive_; }
  [[nodiscard]] bool frozen() const noexcept { return frozen_; }

  /// SIGKILL: the kernel closes its connections; what it does from here on has no effect. With
  /// `silently` its machine has lost power: nobody hears of it, but after a while.
  void kill(bool silently = false);
  /// SIGSTOP and SIGCONT.
  void freeze() { frozen_ = alive_; }
  void thaw();
  /// Resolves at once unless it is stopped.
  kj::Promise<void> when_running();

  /// One of its ends of connections.
  void add(const std::shared_ptr<Wire>& wire) { wires_.push_back(wire); }
  [[nodiscard]] std::vector<std::shared_ptr<Wire>> wires();

 private:
  kj::TimePoint now() const override;
  kj::Promise<void> atTime(kj::TimePoint time) override;
  kj::Promise<void> afterDelay(kj::Duration delay) override;
  kj::Promise<kj::Own<kj::NetworkAddress>> parseAddress(kj::StringPtr address, kj::uint) override;
  kj::Own<kj::NetworkAddress> getSockaddr(const void*, kj::uint) override;
  kj::Own<kj::Network> restrictPeers(kj::ArrayPtr<const kj::StringPtr>,
                                     kj::ArrayPtr<const kj::StringPtr>) override;

  World& world_;
  std::string name_;
  std::string machine_;
  std::uint32_t uid_;
  milliseconds clock_error_;
  bool alive_ = true;
  bool frozen_ = false;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  std::vector<std::weak_ptr<Wire>> wires_;
};

}  // namespace sublet::sim
