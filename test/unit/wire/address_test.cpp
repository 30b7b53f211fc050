#include <wire/address.hpp>

#include <gtest/gtest.h>

namespace sublet::wire {
namespace {

TEST(Address, ReadsAndWritesEachForm) {
  for (const char* text :
       {"unix:/run/sublet/manager.sock", "unix:relative.sock", "unix:@abstract",
        "tcp:localhost:7000", "tcp:10.0.0.1:0", "tcp:*:65535", "tcp:[fe80::1]:7000"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << address.error().what();
    EXPECT_EQ(address->to_string(), text);
  }
}

TEST(Address, GivesKjItsOwnForm) {
  EXPECT_EQ(Address::parse("unix:/a/b")->to_kj(), "unix:/a/b");
  EXPECT_EQ(Address::parse("unix:@a")->to_kj(), "unix-abstract:a");
  EXPECT_EQ(Address::parse("tcp:host:80")->to_kj(), "host:80");
  EXPECT_EQ(Address::parse("tcp:[::1]:80")->to_kj(), "[::1]:80");
}

TEST(Address, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "neither unix: nor tcp:"},
      {"/run/x.sock", "neither unix: nor tcp:"},
      {"http:host:80", "neither unix: nor tcp:"},
      {"unix:", "path is empty"},
      {"unix:@", "path is empty"},
      {"unix:" + std::string(108, 'x'), "108 bytes"},
      {std::string("unix:/a\0b", 9), "zero byte"},
      {"tcp:host", "port is missing"},
      {"tcp::80", "host is empty"},
      {"tcp:host:", "not a number"},
      {"tcp:host:65536", "not a number"},
      {"tcp:host:-1", "not a number"},
      {"tcp:host:80x", "not a number"},
      {"tcp:fe80::1:80", "needs brackets"},
      {"tcp:a host:80", "not a host name"},
      {"tcp:" + std::string(256, 'h') + ":80", "not a host name"},
  };
  for (const auto& [text, why] : wrong) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(address.error().what()).find(why), std::string::npos)
        << address.error().what();
  }
}

}  // namespace
}  // namespace sublet::wire
