// The resource manager's service: the grants that it signs, the clocks and the cores of its nodes.

#include "resource_manager_fixture.hpp"
#include <common/sealing.hpp>
#include <wire/manager_calls.hpp>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

class SignedLeases : public ResourceManagerTest {
 protected:
  wire::ManagersClock clock(milliseconds ahead = 0ms) {
    return wire::ask_clock(manager_, [this, ahead] { return now_.time_since_epoch() + ahead; })
        .wait(scope_)
        .value_or_throw();
  }
  std::optional<Error> register_node(FakeNode& node, const std::string& name) {
    auto request = manager_.registerRequest();
    NodeOffer offer{name, "boot/" + name, 4, 1u << 30, "0", {"unix:@" + name}};
    offer.clock_ahead = node.clock_ahead;
    offer.clock_error = 2ms;
    write(request.initNode(), offer);
    request.setControl(kj::heap<FakeControl>(node));
    return wire::failure_of(request.send().wait(scope_));
  }
};

TEST_F(SignedLeases, AreForTheirHoldersAndNodes) {
  FakeNode node;
  auto registration = join(node, "c1", 4);
  auto response = ask(2, 2).wait(scope_);
  ASSERT_FALSE(wire::failure_of(response));
  ASSERT_EQ(response.getGrants().size(), 2u);
  for (const auto grant : response.getGrants()) {
    EXPECT_EQ(grant.getToken().size(), 0u) << "a client hears of it when it claims";
    const auto claims = wire::open_sealed(wire::to_bytes(grant.getSealed()), clock().grant_key);
    ASSERT_TRUE(claims) << claims.error().what();
    EXPECT_EQ(claims->audience, node.key.public_key());
    EXPECT_EQ(claims->holder, holder_.public_key());
    EXPECT_EQ(claims->issued_unix_ms, to_unix_ms(now_));
    EXPECT_EQ(claims->lasts, 1h);
    EXPECT_EQ(claims->uid, ::getuid());
    EXPECT_TRUE(are_of(*claims, node.granted.at(grant.getPart())));
  }
}

TEST_F(SignedLeases, AreSignedWithTheKeyThatIsGiven) {
  auto key = wire::SigningKey::make();
  const wire::PublicKey expected = key.public_key();
  EXPECT_NE(clock().grant_key, expected);
  service_->sign_with(std::move(key));
  EXPECT_EQ(clock().grant_key, expected);
  FakeNode node;
  auto registration = join(node, "c1", 4);
  auto response = ask(1).wait(scope_);
  EXPECT_TRUE(wire::open_sealed(wire::to_bytes(response.getGrants()[0].getSealed()), expected));
}

TEST_F(SignedLeases, WantAHolderForEachPart) {
  FakeNode node;
  auto registration = join(node, "c1", 4);
  auto request = manager_.leaseRequest();
  sublet::LeaseRequest wanted{.cores = 1, .parts = 2};
  wanted.holders = {holder_.public_key()};
  wire::write(request.initRequest(), wanted, "boot/me", "someone@here");
  const auto refused = wire::failure_of(request.send().wait(scope_));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(refused->what()).find("for 2 parts they have 64"), std::string::npos)
      << refused->what();
}

TEST_F(SignedLeases, TellHowFarClocksAreApart) {
  const auto same = clock();
  EXPECT_EQ(same.ahead, 0ms);
  EXPECT_EQ(same.since_1970, now_.time_since_epoch());
  EXPECT_EQ(same.tolerance, 30s);
  EXPECT_EQ(clock(2h).ahead, 2h);
  EXPECT_EQ(clock(-90s).ahead, -90s);
  // Half of the time that the answer took, and a millisecond.
  int asked = 0;
  const auto slow =
      wire::ask_clock(manager_,
                      [&] { return now_.time_since_epoch() + (asked++ == 0 ? 0ms : 100ms); })
          .wait(scope_)
          .value_or_throw();
  EXPECT_EQ(slow.ahead, 50ms);
  EXPECT_EQ(slow.error, 51ms);
}

TEST_F(SignedLeases, AreOnNoNodeWhoseClockIsFarOff) {
  FakeNode node;
  node.clock_ahead = 2h;
  const auto ahead = register_node(node, "c1");
  ASSERT_TRUE(ahead);
  EXPECT_EQ(ahead->kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(ahead->what())
                .find("the clock of node c1 is 2 h 0 min ahead of the resource manager's; allowed "
                      "are 30 s"),
            std::string::npos)
      << ahead->what();
  node.clock_ahead = -31s;
  EXPECT_NE(std::string(register_node(node, "c1").value().what())
                .find("is 31 s behind the resource manager's"),
            std::string::npos);
  // What the measurement may be wrong by is not held against it.
  node.clock_ahead = 30'002ms;
  EXPECT_FALSE(register_node(node, "c1"));
  service_->set_clock_tolerance(1s);
  node.clock_ahead = 1'003ms;
  EXPECT_TRUE(register_node(node, "c1"));
  node.clock_ahead = -250ms;
  EXPECT_FALSE(register_node(node, "c1"));
  const auto nodes = service_->book().nodes().views(now_);
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].clock_ahead, -250ms);
  EXPECT_EQ(nodes[0].clock_error, 2ms);
}

TEST_F(SignedLeases, LeaveTheCoresAloneThatNodesLeaseByThemselves) {
  FakeNode node;
  auto registration = join(node, "c1", 4);
  const auto beat = [&](std::uint32_t cores, std::uint64_t memory) {
    auto request = registration.heartbeatRequest();
    request.setDirectCores(cores);
    request.setDirectMemoryBytes(memory);
    request.send().wait(scope_);
  };
  beat(3, 1u << 29);
  EXPECT_EQ(free_cores(), 1u);
  EXPECT_EQ(service_->book().nodes().views(now_)[0].free_memory_bytes, 1u << 29);
  EXPECT_TRUE(wire::failure_of(ask(2).wait(scope_)));
  EXPECT_EQ(node.heard, 0u) << "it is not even asked";
  // What a node says cannot be more than it has.
  beat(~std::uint32_t{0}, ~std::uint64_t{0});
  EXPECT_EQ(free_cores(), 0u);
  beat(0, 0);
  EXPECT_EQ(free_cores(), 4u);
  EXPECT_FALSE(wire::failure_of(ask(4).wait(scope_)));
}

}  // namespace
}  // namespace sublet::manager
