#include <transport/any_channel.hpp>

#include <gtest/gtest.h>

#include <string>

namespace sublet::transport {
namespace {

static_assert(ClientChannel<AnyClientChannel>);

Endpoint endpoint_of(std::vector<Kind> kinds) {
  Endpoint endpoint;
  for (const Kind kind : kinds) endpoint.addresses.push_back({kind, to_string(kind)});
  return endpoint;
}

TEST(Prefer, TakesShmOnTheSameNode) {
  const auto preference = prefer(true, "");
  ASSERT_TRUE(preference);
  EXPECT_EQ(preference->kinds, std::vector{Kind::kShm});
}

TEST(Prefer, EndsWithTcpOnAnotherNode) {
  const auto preference = prefer(false, "");
  ASSERT_TRUE(preference);
  ASSERT_FALSE(preference->kinds.empty());
  EXPECT_EQ(preference->kinds.back(), Kind::kTcp);
  EXPECT_NE(preference->reasons.find("another node"), std::string::npos);
  EXPECT_NE(preference->reasons.find("verbs"), std::string::npos);
}

TEST(Prefer, ObeysAName) {
  for (const Kind kind : wire::kAllTransports) {
    const auto preference = prefer(true, to_string(kind));
    ASSERT_TRUE(preference);
    EXPECT_EQ(preference->kinds, std::vector{kind});
  }
  const auto shm = prefer(false, "shm");
  ASSERT_FALSE(shm);
  EXPECT_EQ(shm.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(std::string(shm.error().what()).find("another node"), std::string::npos);
  const auto pigeon = prefer(true, "pigeon");
  ASSERT_FALSE(pigeon);
  EXPECT_EQ(pigeon.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(pigeon.error().what()).find("'pigeon'; there are shm, verbs, fabric, tcp"),
            std::string::npos)
      << pigeon.error().what();
}

TEST(Choose, TakesTheFirstThatTheExecutorHas) {
  const Preference preference{{Kind::kVerbs, Kind::kTcp}, "because"};
  const auto both = choose(endpoint_of({Kind::kShm, Kind::kTcp, Kind::kVerbs}), preference);
  ASSERT_TRUE(both);
  EXPECT_EQ(both->kind, Kind::kVerbs);
  EXPECT_EQ(both->text, "verbs");
  const auto tcp = choose(endpoint_of({Kind::kShm, Kind::kTcp}), preference);
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->kind, Kind::kTcp);
}

TEST(Choose, SaysWhatWasAskedForAndFound) {
  Endpoint endpoint = endpoint_of({Kind::kShm});
  endpoint.refusals.emplace_back("not verbs: there is no RDMA device");
  const auto none = choose(endpoint, {{Kind::kVerbs}, "verbs: asked for by name"});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::kUnsupported);
  const std::string text = none.error().what();
  EXPECT_NE(text.find("asked for by name"), std::string::npos) << text;
  EXPECT_NE(text.find("there is no RDMA device"), std::string::npos) << text;
}

TEST(AnyClientChannel, CarriesTheErrorOfAConnectionThatFails) {
  auto arena = Arena::create(1);
  ASSERT_TRUE(arena);
  Target target;
  target.options.address = "nobody-listens-here";
  target.options.timeout = std::chrono::milliseconds(100);
  const auto channels = connect({target, target}, *arena);
  ASSERT_EQ(channels.size(), 2u);
  for (const auto& channel : channels) {
    ASSERT_FALSE(channel);
    EXPECT_EQ(channel.error().kind(), ErrorKind::kDisconnected);
  }
}

}  // namespace
}  // namespace sublet::transport
