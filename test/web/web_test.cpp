// Who may see and do what over HTTP, with real managers.
#include "support/eventually.hpp"
#include "web_fixture.hpp"
#include <sublet/sublet.hpp>

#include <array>

namespace sublet::test {
namespace {

using nlohmann::json;

TEST_F(Web, SaysThatItIsWellToWhoeverAsks) {
  start();
  auto connection = is_root() ? connect(kUser) : connect();
  const HttpAnswer health = connection.ask("GET", "/healthz", {{"X-Forwarded-For", "10.0.0.7"}});
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(health.body, "ok\n");
  // The same connection goes on.
  EXPECT_EQ(connection.ask("HEAD", "/healthz").status, 200);
  EXPECT_EQ(connection.ask("GET", "/healthz").body, "ok\n");
}

TEST_F(Web, ShowsNodesAsTheCommandDoes) {
  start({TestNode{.name = "n1"}, TestNode{.name = "n2", .oversubscribe = 2}});
  const HttpAnswer answer = get("/api/v1/nodes");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.headers.at("content-type"), "application/json; charset=utf-8");
  EXPECT_EQ(answer.headers.at("cache-control"), "no-store");
  const json nodes = json_of(answer).at("nodes");
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes.at(0).at("name"), "n1");
  EXPECT_EQ(nodes.at(1).at("free_cores"), 2);
}

TEST_F(Web, ShowsUsersTheirOwnLeasesAndTheSumOfOthers) {
  if (!is_root()) GTEST_SKIP() << "only root asks as another user";
  start();
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session.lease({.cores = 3, .arena_bytes = 1u << 20}).value_or_throw();
  const json all = json_of(get("/api/v1/leases")).at("leases");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_NE(all.at(0).at("id"), 0);
  EXPECT_EQ(all.at(0).at("state"), "active");
  const json seen = json_of(get_as(kUser, "/api/v1/leases")).at("leases");
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen.at(0).at("id"), 0);
  EXPECT_EQ(seen.at(0).at("owner"), "1 lease of another user");
  EXPECT_EQ(seen.at(0).at("cores"), 3);
  // The page: who may not see a lease sees that cores are used.
  const json page = json_of(get_as(kUser, "/api/v1/page"));
  EXPECT_EQ(page.at("overview").at("sees_all"), false);
  EXPECT_TRUE(page.at("overview").at("leases").empty());
  EXPECT_TRUE(page.at("overview").at("users").empty());
  EXPECT_EQ(page.at("overview").at("nodes").at(0).at("used"), 3);
  EXPECT_TRUE(page.at("tick").at("ledger").empty());
  const json own = json_of(get("/api/v1/page")).at("overview");
  EXPECT_EQ(own.at("users"), json({"root"}));
  EXPECT_EQ(own.at("nodes").at(0).at("leases"), json({{0, 3}}));
  // The same with the token of an operator.
  const json by_token =
      json_of(get_as(kUser, "/api/v1/page", with_token())).at("overview").at("leases");
  EXPECT_EQ(by_token.size(), 1u);
  // Metrics name users only to who may see them.
  EXPECT_NE(get("/metrics").body.find("sublet_user_cores_held{user=\"root\"} 3\n"),
            std::string::npos);
  EXPECT_EQ(get_as(kUser, "/metrics").body.find("user=\"root\""), std::string::npos);
}

TEST_F(Web, RefusesWhoIsNotProved) {
  start();
  for (const char* const header : {"X-Forwarded-For", "Forwarded", "Via"}) {
    for (const char* const target : {"/api/v1/nodes", "/api/v1/page", "/metrics", "/events"}) {
      const HttpAnswer answer = get(target, {{header, "for=10.0.0.7"}});
      EXPECT_EQ(answer.status, 401) << target;
      EXPECT_EQ(answer.headers.count("www-authenticate"), 1u) << target;
    }
  }
  const HttpAnswer wrong =
      get("/api/v1/nodes", with_token("AAAAMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="));
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(json_of(wrong).at("error").at("kind"), "denied");
  for (const std::string& header :
       {std::string("Bearer"), std::string("Bearer "), std::string("x"),
        std::string("Bearer ") + kToken + "x", std::string("Basic ") + kToken}) {
    EXPECT_EQ(get("/api/v1/nodes", {{"Authorization", header}}).status, 401) << header;
  }
}

TEST_F(Web, ChangesNothingWithoutAToken) {
  start();
  for (const char* const target :
       {"/api/v1/nodes/n1/drain", "/api/v1/nodes/n1/cancel-drain", "/api/v1/leases/1/release"}) {
    EXPECT_EQ(connect().ask("POST", target).status, 401) << target;
  }
  EXPECT_EQ(connect().ask("DELETE", "/api/v1/nodes/n1").status, 401);
  EXPECT_EQ(managers_->nodes().at(0).state, "up");
}

TEST_F(Web, RefusesOtherHostsAndOtherSites) {
  start();
  const auto status = [this](const HttpConnection::Headers& headers) {
    return get("/api/v1/nodes", headers).status;
  };
  EXPECT_EQ(status({{"Host", "localhost"}}), 200);
  EXPECT_EQ(status({{"Host", "[::1]:80"}}), 200);
  EXPECT_EQ(status({{"Host", "evil.example"}}), 421);
  EXPECT_EQ(status({{"Host", "127.0.0.1.evil.example:80"}}), 421);
  EXPECT_EQ(status({{"Host", ""}}), 421);
  EXPECT_EQ(get("/", {{"Host", "evil.example"}}).status, 421);
  const std::string own = "http://127.0.0.1:" + std::to_string(port_);
  EXPECT_EQ(status({{"Origin", own}}), 200);
  EXPECT_EQ(status({{"Origin", "http://evil.example"}}), 403);
  EXPECT_EQ(status({{"Origin", "null"}}), 403);
  EXPECT_EQ(status({{"Sec-Fetch-Site", "same-origin"}}), 200);
  EXPECT_EQ(status({{"Sec-Fetch-Site", "cross-site"}}), 403);
  auto headers = with_token();
  headers.emplace_back("Origin", "http://evil.example");
  EXPECT_EQ(connect().ask("POST", "/api/v1/nodes/n1/drain", headers).status, 403);
  EXPECT_EQ(managers_->nodes().at(0).state, "up");
}

TEST_F(Web, SaysWhatIsNotThere) {
  start();
  EXPECT_EQ(get("/nothing").status, 404);
  EXPECT_EQ(get("/api/v1/nodes/n1/drain").status, 405);
  EXPECT_EQ(connect().ask("PUT", "/api/v1/nodes").status, 405);
  EXPECT_EQ(get("/api/v1/%zz").status, 400);
  EXPECT_EQ(get("/api/v1/leases?all=perhaps").status, 400);
  EXPECT_EQ(get("/api/v1/ledger?by=colour").status, 400);
  EXPECT_EQ(get("/api/v1/ledger").status, 501);
  EXPECT_EQ(get("/" + std::string(3000, 'x')).status, 400);
  EXPECT_EQ(post("/api/v1/nodes/n9/drain").status, 400);
  EXPECT_EQ(post("/api/v1/leases/x/release").status, 400);
  EXPECT_EQ(post("/api/v1/leases/7/release").status, 400);
  const HttpAnswer mistyped = post("/api/v1/nodes/n1/drain", R"({"limitms": 1})");
  EXPECT_EQ(mistyped.status, 400);
  EXPECT_NE(mistyped.body.find("'limitms' means nothing here"), std::string::npos);
  for (const char* const body : {"[]", "{", R"({"limit_ms": -1})", R"({"limit_ms": 1e9})",
                                 R"({"reason": 1})", R"({"own_notice": "yes"})"}) {
    EXPECT_EQ(post("/api/v1/nodes/n1/drain", body).status, 400) << body;
  }
}

TEST_F(Web, DrainsANodeAndTakesThatBack) {
  start();
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  const HttpAnswer ordered =
      post("/api/v1/nodes/n1/drain", R"({"limit_ms": 3600000, "reason": "a test"})");
  EXPECT_EQ(ordered.status, 202) << ordered.body;
  const json drains = json_of(get("/api/v1/drains")).at("nodes");
  ASSERT_EQ(drains.size(), 1u);
  EXPECT_EQ(drains.at(0).at("state"), "draining");
  const HttpAnswer back = post("/api/v1/nodes/n1/cancel-drain");
  EXPECT_EQ(back.status, 200) << back.body;
  EXPECT_EQ(json_of(get("/api/v1/nodes")).at("nodes").at(0).at("state"), "up");
  EXPECT_TRUE(json_of(get("/api/v1/drains")).at("nodes").empty());
}

TEST_F(Web, RemovesNodesThatAreUpAndThatAreLost) {
  start({TestNode{.name = "n1"}, TestNode{.name = "n2"}});
  EXPECT_EQ(connect().ask("DELETE", "/api/v1/nodes/n1", with_token()).status, 202);
  EXPECT_TRUE(eventually([this] { return managers_->nodes().size() == 1; }));
  managers_->node(1).signal(SIGKILL);
  ASSERT_TRUE(eventually([this] { return managers_->nodes().at(0).state == "lost"; }));
  const HttpAnswer removed = connect().ask("DELETE", "/api/v1/nodes/n2", with_token());
  EXPECT_EQ(removed.status, 200) << removed.body;
  EXPECT_EQ(json_of(removed).at("ordered"), "forget");
  EXPECT_TRUE(managers_->nodes().empty());
}

TEST_F(Web, EndsALease) {
  start();
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session.lease({.cores = 2, .arena_bytes = 1u << 20}).value_or_throw();
  const auto id = managers_->leases().at(0).id;
  const HttpAnswer released =
      post("/api/v1/leases/" + std::to_string(id) + "/release", R"({"reason": "a test"})");
  EXPECT_EQ(released.status, 200) << released.body;
  EXPECT_TRUE(managers_->leases().empty());
  const json ended = json_of(get("/api/v1/leases?all=true")).at("leases").at(0);
  EXPECT_EQ(ended.at("state"), "ended");
  EXPECT_NE(ended.at("reason").get<std::string>().find("a test"), std::string::npos);
}

TEST_F(Web, ReadsTheLedgerByUser) {
  start({TestNode{}}, true);
  {
    auto session = Session::open(managers_->session_options()).value_or_throw();
    auto lease = session.lease({.cores = 2, .arena_bytes = 1u << 20}).value_or_throw();
  }
  managers_->wait_for_free_cores(4);
  json rows;
  EXPECT_TRUE(eventually([&] {
    const HttpAnswer answer = get("/api/v1/ledger?by=user");
    if (answer.status != 200) return false;
    rows = json_of(answer);
    return rows.at("ledger").size() == 1 && rows.at("ledger").at(0).at("open") == 0;
  }));
  EXPECT_EQ(rows.at("by"), "users");
  EXPECT_TRUE(rows.at("next").is_null());
  EXPECT_EQ(rows.at("total").at("grants"), 1);
  if (!is_root()) return;
  const json others = json_of(get_as(kUser, "/api/v1/ledger?by=user"));
  EXPECT_TRUE(others.at("ledger").empty());
  EXPECT_EQ(others.at("total").at("grants"), 0);
}

TEST_F(Web, CountsWhatHasHappened) {
  start();
  {
    auto session = Session::open(managers_->session_options()).value_or_throw();
    auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
    auto echo = lease.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
    std::array<char, 8> out{};
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(echo.call("12345678", 8, out.data(), out.size()).ok());
    }
  }
  managers_->wait_for_free_cores(4);
  // Told with the next heartbeat.
  ASSERT_TRUE(eventually([&] {
    return get("/metrics").body.find("sublet_call_seconds_count 3\n") != std::string::npos;
  })) << get("/metrics").body;
  const HttpAnswer answer = get("/metrics");
  ASSERT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* const line :
       {"# TYPE sublet_nodes gauge\n", "sublet_nodes{state=\"up\"} 1\n", "sublet_cores 4\n",
        "sublet_cores_free 4\n", "sublet_grants_total 1\n", "sublet_grants_claimed_total 1\n",
        "sublet_grants_ended_total{how=\"reported\"} 1\n", "sublet_leases{state=\"active\"} 0\n",
        "sublet_up 1\n", "# TYPE sublet_call_seconds histogram\n",
        "sublet_call_seconds_bucket{le=\"1.6e-08\"} ",
        "sublet_call_seconds_bucket{le=\"+Inf\"} 3\n", "sublet_node_cores{node=\"n1\"} 4\n"}) {
    EXPECT_NE(answer.body.find(line), std::string::npos) << line << answer.body;
  }
}

TEST_F(Web, CountsNoMoreCallsThanThereWasTimeForWhateverAFunctionWrites) {
  start();
  {
    auto session = Session::open(managers_->session_options()).value_or_throw();
    auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
    auto forge = lease.function<std::uint64_t(std::uint8_t)>(CLIENT_FUNCTIONS, "forge_counters")
                     .value_or_throw();
    ASSERT_GT(forge(std::uint8_t{0x7f}).value_or_throw(), 0u);
  }
  managers_->wait_for_free_cores(4);
  const std::string name = "sublet_call_seconds_count ";
  double calls = 0;
  ASSERT_TRUE(eventually([&] {
    const std::string body = get("/metrics").body;
    calls = std::atof(body.c_str() + body.find(name) + name.size());
    return calls > 0;
  }));
  // It was there for less than a day; all it wrote would be 10^20.
  EXPECT_LT(calls, 128 * 86400e9);
}

TEST_F(Web, ShowsGpusWhereThereAreSome) {
  std::ofstream(directory() + "/gpus") << "GPU-a\nGPU-b\nGPU-c\n";
  start({TestNode{.name = "n1", .more = {"--gpus", directory() + "/gpus"}},
         TestNode{.name = "n2", .more = {"--gpus", "none"}}});
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session.lease({.arena_bytes = 1u << 20, .gpus_per_worker = 2}).value_or_throw();
  const json overview = json_of(get("/api/v1/page")).at("overview");
  EXPECT_EQ(overview.at("nodes").at(0).at("gpus"), 3);
  EXPECT_EQ(overview.at("nodes").at(0).at("used_gpus"), 2);
  EXPECT_FALSE(overview.at("nodes").at(1).contains("gpus"));
  EXPECT_EQ(overview.at("leases").at(0).at("gpus"), 2);
  const std::string metrics = get("/metrics").body;
  for (const char* const line :
       {"sublet_gpus 3\n", "sublet_gpus_held 2\n", "sublet_node_gpus{node=\"n1\"} 3\n",
        "sublet_node_gpus_held{node=\"n1\"} 2\n", "sublet_gpu_seconds_total "}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  }
  EXPECT_EQ(metrics.find("sublet_node_gpus{node=\"n2\"}"), std::string::npos);
}

}  // namespace
}  // namespace sublet::test
