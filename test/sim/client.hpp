#pragma once

#include "world.hpp"
#include <client/claim.hpp>
#include <client/control_thread.hpp>
#include <wire/manager_calls.hpp>
#include <wire/signing_key.hpp>

#include <kj/async-unix.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::sim {

/// The client library's event loop, in a simulated process.
///
/// Owner: who uses it.
class ClientLoop {
 public:
  ClientLoop(World& world, Process& process);
  [[nodiscard]] client::ControlLoop& operator*() noexcept { return loop_; }
  /// A resource manager, connected to when it is needed. Throws when there is none.
  kj::Promise<wire::ResourceManager::Client> manager();

 private:
  kj::AsyncIoContext io_;
  client::ControlLoop loop_;
  kj::Own<client::Connection> connection_;
};

/// An application that leases, claims, holds, extends and gives back, over and over, with the
/// client library's own code for each; sometimes it misbehaves.
///
/// Owner: the cluster. Only from outside the loop's events.
class Client {
 public:
  Client(World& world, std::string name, base::NodeIdentity node, std::uint32_t uid);
  ~Client() noexcept(false);
  KJ_DISALLOW_COPY(Client);

  void start();
  void kill();
  [[nodiscard]] Process* process() noexcept { return process_; }

  /// Takes no further lease, and keeps those that it has.
  void rest() { resting_ = true; }
  void release_all() { releasing_ = true; }

  struct Share {
    std::uint64_t lease = 0;
    std::uint32_t part = 0;
    std::string node;
    bool lost = false;
  };
  [[nodiscard]] std::vector<Share> shares() const;
  [[nodiscard]] std::uint64_t leases() const noexcept { return leases_; }

 private:
  using Claims = std::vector<client::Claimed>;
  kj::Promise<void> live();
  kj::Promise<void> lease();
  kj::Promise<Result<Claims>> lease_and_claim(const LeaseRequest& request, bool patient);
  kj::Promise<Result<Claims>> claim(wire::Granted granted);
  kj::Promise<void> hold(std::chrono::nanoseconds time);
  kj::Promise<void> extend();
  kj::Promise<void> claim_again();
  void give_back();
  LeaseRequest make_request();

  const wire::SigningKey key_ = wire::SigningKey::make();
  World& world_;
  std::string name_;
  base::NodeIdentity node_;
  std::uint32_t uid_;
  bool resting_ = false;
  bool releasing_ = false;
  std::uint64_t leases_ = 0;
  Process* process_ = nullptr;
  std::unique_ptr<ClientLoop> loop_;
  Claims claims_;
  kj::Promise<void> life_ = nullptr;
};

}  // namespace sublet::sim
