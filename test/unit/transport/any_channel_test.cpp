#include <transport/any/any_channel.hpp>
#include <transport/any/any_listener.hpp>
#include <transport/any/choice.hpp>
#include <transport/any/states.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace sublet::transport {
namespace {

static_assert(ClientChannel<AnyClientChannel>);

Kind kind(const char* name) {
  return kind_named(name).value();
}

Endpoint endpoint_of(const std::vector<Kind>& kinds) {
  Endpoint endpoint;
  for (const Kind kind : kinds) endpoint.addresses.push_back({kind, to_string(kind)});
  return endpoint;
}

TEST(Prefer, TakesShmOnTheSameNode) {
  const auto preference = prefer(true, "");
  ASSERT_TRUE(preference);
  EXPECT_EQ(preference->kinds, std::vector{kind("shm")});
}

TEST(Prefer, EndsWithTcpOnAnotherNode) {
  const auto preference = prefer(false, "");
  ASSERT_TRUE(preference);
  ASSERT_FALSE(preference->kinds.empty());
  EXPECT_EQ(preference->kinds.back(), kind("tcp"));
  EXPECT_NE(preference->reasons.find("another node"), std::string::npos);
  EXPECT_NE(preference->reasons.find("verbs"), std::string::npos);
}

TEST(Prefer, ObeysAName) {
  for (const Kind one : all_kinds()) {
    const auto preference = prefer(true, to_string(one));
    ASSERT_TRUE(preference);
    EXPECT_EQ(preference->kinds, std::vector{one});
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

TEST(Kinds, AreKnownByTheirNamesAlone) {
  for (const Kind one : all_kinds()) {
    EXPECT_EQ(kind_named(to_string(one)), one);
    EXPECT_NE(kind_names().find(to_string(one)), std::string::npos);
  }
  for (const char* name : {"", "SHM", "shm ", "sh", "carrier pigeon"}) {
    EXPECT_FALSE(kind_named(name)) << name;
  }
}

TEST(Kinds, OneReachesThisNodeAndTheOthersReachOtherNodes) {
  for (const Kind one : all_kinds()) {
    EXPECT_EQ(reaches_other_nodes(one), one != same_node_kind()) << to_string(one);
  }
}

TEST(States, NameEachTransportOnceAndSayMore) {
  const auto states = transport_states();
  ASSERT_EQ(states.size(), all_kinds().size());
  for (std::size_t i = 0; i < states.size(); ++i) {
    EXPECT_EQ(states[i].kind, all_kinds()[i]);
    EXPECT_NE(states[i].text, "");
  }
  EXPECT_TRUE(states.front().usable);
}

TEST(Endpoint, PutsTheHostInPlaceOfAStar) {
  Endpoint endpoint;
  endpoint.add_local("*:name");
  endpoint.add("tcp", "*:4711", "[fd00::1]");
  endpoint.add("tcp", "10.0.0.1:4711", "[fd00::1]");
  endpoint.add("pigeon", "*:1", "node7");  // of a newer executor manager
  ASSERT_EQ(endpoint.addresses.size(), 3u);
  EXPECT_EQ(endpoint.addresses[0].kind, same_node_kind());
  EXPECT_EQ(endpoint.addresses[0].text, "*:name");
  EXPECT_EQ(endpoint.addresses[1].text, "[fd00::1]:4711");
  EXPECT_EQ(endpoint.addresses[2].text, "10.0.0.1:4711");
}

TEST(ListenPlaces, AreTakenAsTheTransportNeedsThem) {
  const ListenPlaces all{"10.0.0.1", "mlx5_0", "10.0.1.1"};
  const ListenPlaces not_told{"", "", "10.0.1.1"};
  EXPECT_EQ(tcp::Transport::listen_at(all), "10.0.0.1");
  EXPECT_EQ(tcp::Transport::listen_at(not_told), "");
  EXPECT_EQ(verbs::Transport::listen_at(all), "mlx5_0");
  EXPECT_EQ(verbs::Transport::listen_at({"10.0.0.1", "", ""}), "10.0.0.1");
  EXPECT_EQ(fabric::Transport::listen_at(all), "10.0.0.1");
  EXPECT_EQ(fabric::Transport::listen_at(not_told), "10.0.1.1");
}

TEST(Choose, TakesTheFirstThatTheExecutorHas) {
  const Preference preference{{kind("verbs"), kind("tcp")}, "because"};
  const auto both = choose(endpoint_of({kind("shm"), kind("tcp"), kind("verbs")}), preference);
  ASSERT_TRUE(both);
  EXPECT_EQ(both->kind, kind("verbs"));
  EXPECT_EQ(both->text, "verbs");
  const auto tcp = choose(endpoint_of({kind("shm"), kind("tcp")}), preference);
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->kind, kind("tcp"));
}

TEST(Choose, SaysWhatWasAskedForAndFound) {
  Endpoint endpoint = endpoint_of({kind("shm")});
  endpoint.refusals.emplace_back("not verbs: there is no RDMA device");
  const auto none = choose(endpoint, {{kind("verbs")}, "verbs: asked for by name"});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::kUnsupported);
  const std::string text = none.error().what();
  EXPECT_NE(text.find("asked for by name"), std::string::npos) << text;
  EXPECT_NE(text.find("there is no RDMA device"), std::string::npos) << text;
}

/// A listener of each transport that works on any machine, and a client in one process.
class AnyTransport : public ::testing::TestWithParam<const char*> {};

TEST_P(AnyTransport, CarriesACallThere) {
  const Kind used = kind(GetParam());
  ListenOptions options;
  options.max_arena_bytes = std::uint64_t{1} << 30;
  auto listener = listen(used, options, {"127.0.0.1", "", ""});
  ASSERT_TRUE(listener) << listener.error().what();
  EXPECT_EQ((*listener)->kind(), used);
  const auto arena = Arena::create(2u << 20).value_or_throw();
  Target target;
  target.kind = used;
  target.options.address = (*listener)->address();
  std::vector<Result<AnyClientChannel>> clients;
  std::atomic<bool> connected{false};
  std::thread client([&] {
    clients = connect({target}, arena);
    connected = true;
  });
  AnyServerChannel server;
  const auto deadline = base::Deadline::after(std::chrono::seconds(20));
  while (!deadline.passed() && !(connected && server.index() != 0)) {
    std::vector<pollfd> fds;
    (*listener)->append_poll_fds(fds);
    ::poll(fds.data(), fds.size(), 1);
    (*listener)->service([](std::uint32_t) { return true; },
                         [&](std::uint32_t, AnyServerChannel made) { server = std::move(made); },
                         [](std::uint32_t) {});
  }
  client.join();
  ASSERT_EQ(clients.size(), 1u);
  ASSERT_TRUE(clients[0]) << clients[0].error().what();
  EXPECT_TRUE(clients[0]->is_open());
  Ticket ticket;
  ASSERT_EQ(clients[0]->submit({}, ticket), Status::kOk);
  const bool served = std::visit(
      [&](auto& held) {
        if constexpr (requires { held->interrupt(); }) {
          Invocation invocation;
          while (!held->poll(invocation)) {
            if (deadline.passed()) return false;
          }
          held->complete(invocation, {});
          return true;
        }
        return false;
      },
      server);
  ASSERT_TRUE(served);
  ReplyView reply;
  ASSERT_EQ(clients[0]->wait(ticket, reply, deadline), Status::kOk);
  EXPECT_EQ(reply.status, Status::kOk);
}

INSTANTIATE_TEST_SUITE_P(Each, AnyTransport, ::testing::Values("shm", "tcp"),
                         [](const auto& test) { return std::string(test.param); });

TEST(AnyClientChannel, CarriesTheErrorOfAConnectionThatFails) {
  auto arena = Arena::create(1);
  ASSERT_TRUE(arena);
  Target target;
  target.kind = same_node_kind();
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
