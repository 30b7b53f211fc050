// Who sends too much, too slowly, or takes nothing.
#include "support/eventually.hpp"
#include "web_fixture.hpp"

namespace sublet::test {
namespace {

using nlohmann::json;

TEST_F(Web, BoundsHeadAndBody) {
  start();
  auto headers = with_token();
  headers.emplace_back("Content-Length", "99999999");
  EXPECT_EQ(connect().ask("POST", "/api/v1/nodes/n1/drain", headers).status, 413);
  // Without a length: as much as may be is read, and no more.
  auto chunked = with_token();
  chunked.emplace_back("Transfer-Encoding", "chunked");
  auto connection = connect();
  std::string text = "POST /api/v1/nodes/n1/drain HTTP/1.1\r\nHost: localhost\r\n";
  for (const auto& [name, value] : chunked) text += name + ": " + value + "\r\n";
  connection.send(text + "\r\n4e20\r\n" + std::string(20000, ' ') + "\r\n0\r\n\r\n");
  EXPECT_EQ(connection.read_answer().status, 413);
  // A head that does not end.
  auto endless = connect();
  endless.send("GET / HTTP/1.1\r\nX: " + std::string(200'000, 'x'));
  EXPECT_TRUE(endless.is_closed());
  auto nonsense = connect();
  nonsense.send("\x16\x03\x01 this is no HTTP\r\n\r\n");
  EXPECT_GE(nonsense.read_answer().status, 400);
  EXPECT_EQ(get("/healthz").status, 200);
}

TEST_F(Web, ClosesConnectionsThatSayNothing) {
  start();
  auto silent = connect();
  auto slow = connect();
  slow.send("GET /healthz HTTP/1.1\r\nHo");
  EXPECT_TRUE(silent.is_closed());
  EXPECT_TRUE(slow.is_closed());
  EXPECT_EQ(get("/healthz").status, 200);
}

TEST_F(Web, ServesOthersWhileOneHoldsAllItsConnections) {
  start();
  std::vector<HttpConnection> idle;
  for (int i = 0; i < 400; ++i) idle.push_back(connect());
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/api/v1/nodes").status, 200);
}

TEST_F(Web, StreamsWhatChanges) {
  start();
  auto stream = connect();
  stream.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const std::string head = stream.read_until("\r\n\r\n");
  EXPECT_NE(head.find("200 OK"), std::string::npos) << head;
  EXPECT_NE(head.find("text/event-stream"), std::string::npos) << head;
  const std::string first = stream.read_until("event: tick");
  EXPECT_NE(first.find("event: overview\ndata: {"), std::string::npos) << first;
  EXPECT_NE(first.find("\"name\":\"n1\",\"state\":\"up\",\"cores\":4,\"used\":0"),
            std::string::npos)
      << first;
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session.lease({.cores = 3, .arena_bytes = 1u << 20}).value_or_throw();
  EXPECT_NE(stream.read_until("\"used\":3").find("event: overview"), std::string::npos);
  EXPECT_NE(get("/metrics").body.find("sublet_http_streams 1\n"), std::string::npos);
}

TEST_F(Web, BoundsStreams) {
  start();
  std::vector<HttpConnection> streams;
  for (int i = 0; i < 32; ++i) {
    streams.push_back(connect());
    streams.back().send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_NE(streams.back().read_until("event: tick").find("200 OK"), std::string::npos) << i;
  }
  const HttpAnswer refused = get("/events");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.count("retry-after"), 1u);
  streams.pop_back();
  EXPECT_TRUE(eventually([this] {
    auto again = connect();
    again.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return again.read_until("\r\n\r\n").find("200 OK") != std::string::npos;
  }));
}

TEST_F(Web, PageLoadsNothingFromElsewhere) {
  start();
  for (const char* const target : {"/", "/page.css", "/page.js", "/map.js", "/charts.js"}) {
    const HttpAnswer answer = get(target);
    EXPECT_EQ(answer.status, 200) << target;
    EXPECT_NE(answer.headers.at("content-security-policy").find("default-src 'none'"),
              std::string::npos);
    EXPECT_EQ(answer.headers.at("x-content-type-options"), "nosniff");
    for (const char* const part : {"http://", "https://", "innerHTML", "onclick=\"", "eval("}) {
      EXPECT_EQ(answer.body.find(part), std::string::npos) << target << ": " << part;
    }
  }
  EXPECT_EQ(get("/").headers.at("content-type"), "text/html; charset=utf-8");
}

}  // namespace
}  // namespace sublet::test
