// A resource manager's connection: whatever its socket reads, through the guarded stream, Cap'n
// Proto's RPC and the server to the service.

#include "target.hpp"
#include <common/auth/authorize.hpp>
#include <common/guarded_stream.hpp>
#include <common/rpc_listener.hpp>
#include <resource_manager/resource_manager_server.hpp>
#include <wire/connect.hpp>
#include <wire/limits.hpp>
#include <wire/manager_calls.hpp>

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/timer.h>

#include <memory>
#include <utility>

namespace sublet::fuzz {
namespace {

constexpr manager::Time kNow{manager::milliseconds(1'800'000'000'000)};

/// A resource manager with one connection, which the input speaks on.
class Manager {
 public:
  Manager()
      : service_(kj::refcounted<manager::ResourceManagerService>(timer_, manager::Operators{},
                                                                 [] { return kNow; })) {
    auto pipe = kj::newTwoWayPipe();
    client_ = kj::mv(pipe.ends[0]);
    auto peer = std::make_shared<manager::Peer>(kj::mv(pipe.ends[1]));
    peer->secured(peer->take_stream(), {wire::ProofKind::kMunge, 0, 0});
    peer->set_place(connections_->table.take("somebody", [] {}), connections_);
    connection_ =
        kj::heap<Connection>(peer, manager::make_resource_manager(kj::addRef(*service_), peer),
                             timer_, connections_->budgets);
  }

  kj::AsyncIoStream& client() { return *client_; }
  kj::Own<kj::AsyncIoStream> take_client() { return kj::mv(client_); }
  kj::WaitScope& scope() { return scope_; }
  /// Lets all that is due within a second happen.
  void pass() {
    for (int i = 0; i < 10; ++i) {
      scope_.poll();
      timer_.advanceTo(timer_.now() + 100 * kj::MILLISECONDS);
    }
    scope_.poll();
  }

 private:
  struct Connection {
    Connection(std::shared_ptr<manager::Peer> peer, capnp::Capability::Client bootstrap,
               kj::Timer& timer, manager::GuardedStream::Budgets& budgets)
        : stream(std::move(peer), timer, budgets),
          network(stream, capnp::rpc::twoparty::Side::SERVER),
          rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))) {
      rpc.setFlowLimit(wire::kMaxPendingCalls / sizeof(capnp::word));
    }
    manager::GuardedStream stream;
    capnp::TwoPartyVatNetwork network;
    capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  };

  kj::TimerImpl timer_{kj::origin<kj::TimePoint>()};
  kj::EventLoop loop_;
  kj::WaitScope scope_{loop_};
  std::shared_ptr<manager::ServedConnections> connections_ =
      std::make_shared<manager::ServedConnections>(50, wire::Trust::load({}));
  kj::Own<manager::ResourceManagerService> service_;
  kj::Own<kj::AsyncIoStream> client_;
  kj::Own<Connection> connection_;
};

void run(std::span<const std::byte> input) {
  Manager manager;
  auto writing = manager.client().write(input.data(), input.size()).then([&manager] {
    manager.client().shutdownWrite();
  });
  std::array<kj::byte, 65536> answers{};
  auto reading = manager.client().tryRead(answers.data(), answers.size(), answers.size());
  auto both = writing.eagerlyEvaluate([](kj::Exception&&) {});
  auto answered = reading.then([](std::size_t) {}).eagerlyEvaluate([](kj::Exception&&) {});
  manager.pass();
}

/// Notes what is written on the way.
class Recorder final : public kj::AsyncIoStream {
 public:
  explicit Recorder(kj::Own<kj::AsyncIoStream> stream) : stream_(kj::mv(stream)) {}
  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    return stream_->tryRead(buffer, least, most);
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    note(buffer, size);
    return stream_->write(buffer, size);
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    for (const auto piece : pieces) note(piece.begin(), piece.size());
    return stream_->write(pieces);
  }
  kj::Promise<void> whenWriteDisconnected() override { return stream_->whenWriteDisconnected(); }
  void shutdownWrite() override { stream_->shutdownWrite(); }
  Bytes said;

 private:
  void note(const void* buffer, size_t size) {
    const auto* const bytes = static_cast<const std::byte*>(buffer);
    said.insert(said.end(), bytes, bytes + size);
  }
  kj::Own<kj::AsyncIoStream> stream_;
};

class Control final : public wire::NodeControl::Server {};

using Ask = kj::Promise<void> (*)(wire::ResourceManager::Client manager);

kj::Promise<void> register_node(wire::ResourceManager::Client manager) {
  auto request = manager.registerRequest();
  auto node = request.initNode();
  node.setName("n1");
  node.setNodeId("boot/n1");
  node.setCores(4);
  node.setMemoryBytes(1u << 30);
  node.initAddresses(1).set(0, "unix:@n1");
  request.initHeld(1)[0].setLeaseId(7);
  request.setControl(kj::heap<Control>());
  auto registration = request.send().getRegistration();
  auto heartbeat = registration.heartbeatRequest().send().ignoreResult();
  return heartbeat.catch_([](kj::Exception&&) {});
}

/// What a client with each of these wishes says.
std::vector<Bytes> seeds() {
  const Ask asks[] = {
      [](wire::ResourceManager::Client manager) {
        return wire::ask_lease(manager, {}, "boot/me", "user@me").ignoreResult();
      },
      [](wire::ResourceManager::Client manager) {
        return wire::ask_extension(manager, {}, std::chrono::seconds(5)).ignoreResult();
      },
      [](wire::ResourceManager::Client manager) {
        return wire::ask_drain(manager, "n1", std::chrono::seconds(1), "why", true).ignoreResult();
      },
      [](wire::ResourceManager::Client manager) {
        return wire::ask_release(manager, 7, "why").ignoreResult();
      },
      [](wire::ResourceManager::Client manager) {
        return wire::ask_ledger(manager, {}).ignoreResult();
      },
      [](wire::ResourceManager::Client manager) {
        return wire::ask_leases(manager, true).ignoreResult();
      },
      register_node,
  };
  std::vector<Bytes> all;
  for (const Ask ask : asks) {
    Manager manager;
    Recorder recorder(manager.take_client());
    {
      capnp::TwoPartyVatNetwork network(recorder, capnp::rpc::twoparty::Side::CLIENT);
      auto rpc = capnp::makeRpcClient(network);
      auto asked = ask(wire::bootstrap(rpc).castAs<wire::ResourceManager>())
                       .eagerlyEvaluate([](kj::Exception&&) {});
      manager.pass();
    }
    all.push_back(recorder.said);
  }
  return all;
}

const Registered registered({"control_calls", run, seeds});

}  // namespace
}  // namespace sublet::fuzz
