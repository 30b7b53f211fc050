#include <common/async.hpp>
#include <common/rpc_connection.hpp>
#include <common/rpc_listener.hpp>
#include <wire/control.capnp.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

/// Holds a place, as a lease does, and never answers.
class SilentServer final : public wire::ExecutorManager::Server {
 public:
  SilentServer(const std::shared_ptr<Peer>& peer, kj::Own<kj::PromiseFulfiller<void>>& called)
      : place_(hold_place(peer)), called_(called) {}

  kj::Promise<void> version(VersionContext) override {
    called_->fulfill();
    return kj::NEVER_DONE;
  }

 private:
  std::shared_ptr<void> place_;
  kj::Own<kj::PromiseFulfiller<void>>& called_;
};

kj::Own<RpcListener> listen(kj::AsyncIoContext& io, RpcListener::Bootstrap bootstrap,
                            std::shared_ptr<ServedConnections> connections) {
  auto socket = ListeningSocket::open(
      *wire::Address::parse("unix:@sublet-rpc-listener-test-" + std::to_string(::getpid())),
      "test");
  return kj::heap<RpcListener>(*io.lowLevelProvider, std::move(*socket), std::move(bootstrap),
                               std::move(connections));
}

TEST(RpcListener, MayEndBeforeACallThatItServes) {
  std::optional<kj::AsyncIoContext> io(kj::setupAsyncIo());
  auto connections = std::make_shared<ServedConnections>(50, wire::Trust::load({}));
  const std::weak_ptr<ServedConnections> shared = connections;
  auto called = kj::newPromiseAndFulfiller<void>();
  auto listener = listen(
      *io,
      [&](std::shared_ptr<Peer> peer) -> capnp::Capability::Client {
        return kj::heap<SilentServer>(peer, called.fulfiller);
      },
      std::move(connections));
  kj::Timer& timer = io->provider->getTimer();
  auto connection = RpcConnection::connect(io->provider->getNetwork(), timer, listener->address(),
                                           10s, wire::Trust::load({}))
                        .wait(io->waitScope);
  auto answer = connection->bootstrap().castAs<wire::ExecutorManager>().versionRequest().send();
  within(timer, 10s, kj::mv(called.promise), "the call").wait(io->waitScope);

  listener = nullptr;
  EXPECT_FALSE(shared.expired()) << "KJ keeps the call, and with it the place";
  {
    auto dropped = kj::mv(answer);
    connection = nullptr;
  }
  io.reset();
  EXPECT_TRUE(shared.expired());
}

}  // namespace
}  // namespace sublet::manager
