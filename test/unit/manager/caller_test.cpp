#include <base/fd.hpp>
#include <base/unix_socket.hpp>
#include <common/auth/authorize.hpp>
#include <common/auth/caller.hpp>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sublet::manager {
namespace {

TEST(Caller, OfAUnixSocketIsProvedByTheKernel) {
  const auto sockets = base::make_socketpair().value_or_throw();
  const Caller caller = find_caller(sockets.first.get());
  EXPECT_EQ(caller.proof, Proof::kPeerCredentials);
  EXPECT_EQ(caller.uid, ::getuid());
  EXPECT_EQ(caller.gid, ::getgid());
  EXPECT_TRUE(caller.host.empty());
  EXPECT_EQ(to_string(caller),
            "uid " + std::to_string(::getuid()) + ", process " + std::to_string(::getpid()));
}

TEST(Caller, OfATcpConnectionIsUnproved) {
  const base::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const name = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listener.get(), name, length), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_EQ(::getsockname(listener.get(), name, &length), 0);
  const base::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), name, length), 0);
  const base::Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted.valid());

  const Caller caller = find_caller(accepted.get());
  EXPECT_FALSE(caller.proved());
  EXPECT_EQ(caller.uid, kUnknownUid);
  EXPECT_EQ(caller.gid, kUnknownGid);
  EXPECT_EQ(caller.host, "127.0.0.1");
  EXPECT_EQ(to_string(caller), "network peer 127.0.0.1, unproved");
}

TEST(Caller, OfNothingIsUnproved) {
  EXPECT_FALSE(find_caller(-1).proved());
  EXPECT_EQ(to_string(find_caller(-1)), "somebody unproved");
}

TEST(Caller, OfThisProcessIsItsUser) {
  EXPECT_TRUE(this_process().proved());
  EXPECT_EQ(this_process().uid, ::getuid());
}

TEST(Authorize, WhoeverMayLeaseMayDrainAndLook) {
  Caller network;
  network.host = "10.0.0.7";
  Caller local{1000, 1000, 0, "", Proof::kPeerCredentials};
  for (const Caller& caller : {network, local, this_process()}) {
    const bool may_lease = authorize(caller, Right::kLease).has_value();
    EXPECT_TRUE(may_lease) << to_string(caller);
    for (const Right right :
         {Right::kDrain, Right::kRelease, Right::kForget, Right::kViewNodes, Right::kViewLeases}) {
      EXPECT_EQ(authorize(caller, right).has_value(), may_lease) << to_string(caller);
    }
  }
}

TEST(Authorize, RefusesWhatIsNoRightAndSaysToWhom) {
  Caller network;
  network.host = "10.0.0.7";
  const auto refused = authorize(network, static_cast<Right>(99));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kDenied);
  EXPECT_STREQ(refused.error().what(), "network peer 10.0.0.7, unproved may not do that");
}

}  // namespace
}  // namespace sublet::manager
