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

constexpr std::array kAllRights = {Right::kLease,     Right::kViewNodes, Right::kRegister,
                                   Right::kDrain,     Right::kForget,    Right::kReleaseOthers,
                                   Right::kViewOthers};

Caller user(std::uint32_t uid, Proof proof = Proof::kMunge) {
  return {uid, uid, 0, "10.0.0.7", proof};
}

Operators operators() {
  Operators some;
  some.manager_uid = 990;
  some.group = "sublet-ops";
  some.gid = 500;
  some.members = {1001};
  return some;
}

TEST(Authorize, LetsWhoeverIsProvedLeaseAndLookAtNodesAndNothingElse) {
  for (const Proof proof : {Proof::kKey, Proof::kMunge, Proof::kPeerCredentials}) {
    for (const Right right : kAllRights) {
      const bool all = right == Right::kLease || right == Right::kViewNodes;
      EXPECT_EQ(authorize(user(1000, proof), right, operators()).has_value(), all);
    }
  }
}

TEST(Authorize, LetsOperatorsDoEverything) {
  Caller of_group = user(1002);
  of_group.gid = 500;
  for (const Caller& caller : {user(0), user(990), user(1001), of_group, this_process()}) {
    for (const Right right : kAllRights) EXPECT_TRUE(authorize(caller, right, operators()));
  }
}

TEST(Authorize, LetsNobodyUnprovedDoAnythingButWhereThatIsWanted) {
  Caller network;
  network.host = "10.0.0.7";
  Operators trusting = operators();
  trusting.insecure = true;
  for (const Right right : kAllRights) {
    EXPECT_FALSE(authorize(network, right, operators()));
    EXPECT_TRUE(authorize(network, right, trusting));
  }
  EXPECT_FALSE(authorize_for(network, kUnknownUid, Right::kReleaseOthers, operators()));
}

TEST(Authorize, LetsAnOwnerDoWithHisOwnWhatOthersMayNot) {
  EXPECT_TRUE(authorize_for(user(1000), 1000, Right::kReleaseOthers, operators()));
  EXPECT_FALSE(authorize_for(user(1000), 1003, Right::kReleaseOthers, operators()));
  EXPECT_TRUE(authorize_for(user(0), 1003, Right::kReleaseOthers, operators()));
}

TEST(Authorize, SaysWhoAskedForWhatAndWhoMay) {
  const auto refused = authorize(user(1000), Right::kDrain, operators());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kDenied);
  EXPECT_STREQ(
      refused.error().what(),
      "uid 1000 at 10.0.0.7 (MUNGE) may not drain a node; root and uid 990 and the members "
      "of group sublet-ops may");
}

TEST(Operators, RefuseAGroupThatIsNone) {
  const auto none = Operators::of_this_process("no-such-group-here");
  ASSERT_FALSE(none);
  EXPECT_NE(std::string(none.error().what()).find("no-such-group-here"), std::string::npos);
}

}  // namespace
}  // namespace sublet::manager
