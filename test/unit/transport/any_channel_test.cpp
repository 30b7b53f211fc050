#include <transport/any_channel.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace sublet::transport {
namespace {

static_assert(ClientChannel<AnyClientChannel>);

class Choose : public ::testing::Test {
 protected:
  Choose() { endpoint_.shm_socket = "some-name"; }
  void SetUp() override { ::unsetenv("SUBLET_TRANSPORT"); }
  void TearDown() override { ::unsetenv("SUBLET_TRANSPORT"); }
  Endpoint endpoint_;
};

TEST_F(Choose, TakesShmOnTheSameNode) {
  const auto kind = choose(endpoint_, true);
  ASSERT_TRUE(kind) << kind.error().what();
  EXPECT_EQ(*kind, Kind::kShm);
  EXPECT_STREQ(to_string(*kind), "shm");
}

TEST_F(Choose, SaysWhyThereIsNone) {
  const auto elsewhere = choose(endpoint_, false);
  ASSERT_FALSE(elsewhere);
  EXPECT_EQ(elsewhere.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(std::string(elsewhere.error().what()).find("another node"), std::string::npos);
}

TEST_F(Choose, ObeysTheEnvironment) {
  ::setenv("SUBLET_TRANSPORT", "shm", 1);
  EXPECT_TRUE(choose(endpoint_, true));
  ::setenv("SUBLET_TRANSPORT", "", 1);
  EXPECT_TRUE(choose(endpoint_, true));
  ::setenv("SUBLET_TRANSPORT", "pigeon", 1);
  const auto pigeon = choose(endpoint_, true);
  ASSERT_FALSE(pigeon);
  EXPECT_EQ(pigeon.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(std::string(pigeon.error().what()).find("'pigeon'"), std::string::npos);
}

TEST(AnyClientChannel, CarriesTheErrorOfAConnectionThatFails) {
  auto arena = Arena::create(1);
  ASSERT_TRUE(arena);
  Endpoint endpoint;
  endpoint.shm_socket = "nobody-listens-here";
  const auto channel = connect(Kind::kShm, endpoint, 0, 16, *arena, std::chrono::milliseconds(100));
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().kind(), ErrorKind::kDisconnected);
}

}  // namespace
}  // namespace sublet::transport
