#include "fabric_pair.hpp"
#include "support/temp_directory.hpp"
#include <transport/fabric/fabric_devices.hpp>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace sublet::transport::fabric {
namespace {

using FabricSetup = FabricPair;

TEST_F(FabricSetup, NamesTheProvidersThereAreWhenTheOneAskedForIsNone) {
  ::setenv("SUBLET_FABRIC_PROVIDER", "slingsh0t", 1);
  const auto listener = Listener::open({}, "127.0.0.1");
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().kind(), ErrorKind::kUnsupported);
  const std::string text = listener.error().what();
  EXPECT_NE(text.find("slingsh0t"), std::string::npos) << text;
  EXPECT_NE(text.find("tcp"), std::string::npos) << text;
}

TEST_F(FabricSetup, SaysWhatAProviderLacks) {
  ::setenv("SUBLET_FABRIC_PROVIDER", "shm", 1);
  const auto listener = Listener::open({}, "127.0.0.1");
  ASSERT_FALSE(listener);
  const std::string text = listener.error().what();
  EXPECT_NE(text.find("shm (it does not leave the node)"), std::string::npos) << text;
}

TEST_F(FabricSetup, FailsWhenBothSidesWantDifferentProviders) {
  listen();
  ConnectOptions wanted = options();
  ::setenv("SUBLET_FABRIC_PROVIDER", "tcp;ofi_rxm", 1);
  const auto client = connect(wanted);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(std::string(client.error().what()).find("'tcp'"), std::string::npos)
      << client.error().what();
}

TEST_F(FabricSetup, RefusesAWrongTokenWithTheReason) {
  listen();
  ConnectOptions wrong = options();
  wrong.token[0] ^= 1;
  const auto client = connect(wrong);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::kDenied);
  EXPECT_NE(std::string(client.error().what()).find("token"), std::string::npos);
}

TEST_F(FabricSetup, RejectsAnAddressThatIsNone) {
  listen();
  const std::string unknown = "no.such.host.invalid:77";
  for (const std::string text : {"", "nowhere", ":77", "host:", unknown.c_str()}) {
    ConnectOptions wrong = options();
    wrong.address = text;
    const auto client = fabric::Transport::connect(wrong, arena_);
    ASSERT_FALSE(client) << text;
    EXPECT_EQ(client.error().kind(),
              text == unknown ? ErrorKind::kDisconnected : ErrorKind::kInvalid)
        << text;
  }
}

TEST_F(FabricSetup, ListensAtAllAddressesAndNamesOne) {
  auto listener = Listener::open({}, "").value_or_throw();
  const auto address = HostPort::parse(listener->address()).value_or_throw();
  EXPECT_TRUE(connect_to(address, std::chrono::steady_clock::now() + std::chrono::seconds(20)));
}

TEST_F(FabricSetup, EndsAChannelWhenTheNodeIsKnownToBeGone) {
  listen();
  ConnectOptions asked = options();
  std::atomic<bool> gone{false};
  asked.peer_gone = [&gone] { return gone.load(); };
  auto client = connect(asked);
  ASSERT_TRUE(client);
  EXPECT_TRUE(client->check_peer());
  Ticket ticket;
  ASSERT_EQ(client->submit(Request{}, ticket), Status::kOk);
  gone = true;
  EXPECT_FALSE(client->check_peer());
  ReplyView reply;
  EXPECT_EQ(client->poll(ticket, reply), Status::kOk);
  EXPECT_EQ(reply.status, Status::kLost);
}

TEST(FabricDevices, NameTheOneThatWouldBeUsed) {
  ::unsetenv("SUBLET_FABRIC_PROVIDER");
  const auto devices = fabric_devices();
  ASSERT_FALSE(devices.empty());
  EXPECT_TRUE(devices.front().chosen);
  EXPECT_TRUE(devices.front().missing.empty());
  EXPECT_FALSE(devices.front().address.empty());
  EXPECT_FALSE(has_own_fabric()) << "this machine has a network that the tests do not know";
}

/// Debian's libfabric brings libraries along that write a file when the process ends by a signal.
TEST(FabricLibrary, IsLoadedWhenUsedAndLeavesTheProcessItsSignals) {
  ASSERT_EQ(::dlopen("libfabric.so.1", RTLD_NOW | RTLD_NOLOAD), nullptr) << "linked";
  const test::TempDirectory directory;
  const std::array<int, 7> numbers{SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
  std::array<struct sigaction, numbers.size()> before{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    ::sigaction(numbers[i], nullptr, &before[i]);
  }
  EXPECT_FALSE(fabric_devices().empty());
  ASSERT_NE(::dlopen("libfabric.so.1", RTLD_NOW | RTLD_NOLOAD), nullptr);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    struct sigaction now {};
    ::sigaction(numbers[i], nullptr, &now);
    EXPECT_EQ(now.sa_sigaction, before[i].sa_sigaction) << "of signal " << numbers[i];
  }
  const pid_t child = ::fork();
  if (child == 0) {
    if (::chdir(directory.path().c_str()) != 0) ::_exit(1);
    ::raise(SIGTERM);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "a file was left";
}

}  // namespace
}  // namespace sublet::transport::fabric
