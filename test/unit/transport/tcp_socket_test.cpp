#include <transport/common/tcp_socket.hpp>

#include <gtest/gtest.h>

#include <string>

namespace sublet::transport {
namespace {

TEST(SocketAddress, IsMadeOfNumbersOnly) {
  for (const std::string host : {"10.0.2.15", "fd00::1", "::", "0.0.0.0"}) {
    auto address = SocketAddress::numeric(host, 4711);
    ASSERT_TRUE(address) << host;
    EXPECT_EQ(host_text(address->get(), address->size), host);
  }
  for (const std::string host : {"", "localhost", "rxe0", "[fd00::1]", "10.0.2.15:4711"}) {
    EXPECT_FALSE(SocketAddress::numeric(host, 1)) << host;
  }
}

TEST(ExecutorAddress, NamesWhatIsWrongAndTheForm) {
  EXPECT_EQ(executor_at("[::1]:80").value_or_throw().host, "::1");
  for (const std::string bad : {"node7", "*:80", "node7:x"}) {
    const auto parsed = executor_at(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::kInvalid);
    const std::string text = parsed.error().what();
    EXPECT_NE(text.find("'" + bad + "'"), std::string::npos) << text;
    EXPECT_NE(text.find("HOST:PORT"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace sublet::transport
