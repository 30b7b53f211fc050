#include "support/temp_directory.hpp"
#include <common/async.hpp>
#include <common/rpc_connection.hpp>
#include <common/rpc_listener.hpp>
#include <wire/control.capnp.h>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

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

TEST(RpcListener, RaisesAnAlarmWhileNobodyNewCanReachIt) {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  const test::TempDirectory directory;
  auto socket = ListeningSocket::open(
      *wire::Address::parse("unix:" + directory.path() + "/below/socket"), "test");
  ASSERT_TRUE(socket) << socket.error().what();
  auto connections = std::make_shared<ServedConnections>(50, wire::Trust::load({}));
  auto never = [](std::shared_ptr<Peer>) -> capnp::Capability::Client { return nullptr; };
  RpcListener listener(*io.lowLevelProvider, std::move(*socket), never, std::move(connections));
  EXPECT_FALSE(listener.alarm().raised) << listener.alarm().text;
  EXPECT_EQ(listener.alarm().name, "listener " + listener.address().to_string());

  std::filesystem::remove_all(directory.path() + "/below");
  EXPECT_TRUE(listener.alarm().raised);
  EXPECT_NE(listener.alarm().text.find("its file was removed"), std::string::npos);
  // It makes it again by itself.
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (listener.alarm().raised && std::chrono::steady_clock::now() < deadline) {
    io.provider->getTimer().afterDelay(20 * kj::MILLISECONDS).wait(io.waitScope);
  }
  EXPECT_FALSE(listener.alarm().raised) << listener.alarm().text;
}

TEST(RpcListener, RaisesAnAlarmWhenItsSocketListensNoMore) {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  auto connections = std::make_shared<ServedConnections>(50, wire::Trust::load({}));
  auto socket = ListeningSocket::open(*wire::Address::parse("tcp:127.0.0.1:0"), "test");
  ASSERT_TRUE(socket) << socket.error().what();
  const int fd = socket->fd();
  auto never = [](std::shared_ptr<Peer>) -> capnp::Capability::Client { return nullptr; };
  RpcListener listener(*io.lowLevelProvider, std::move(*socket), never, std::move(connections));
  EXPECT_FALSE(listener.alarm().raised) << listener.alarm().text;
  ASSERT_EQ(::shutdown(fd, SHUT_RDWR), 0);
  EXPECT_TRUE(listener.alarm().raised);
  EXPECT_NE(listener.alarm().text.find("does not listen any more"), std::string::npos);
}

}  // namespace
}  // namespace sublet::manager
