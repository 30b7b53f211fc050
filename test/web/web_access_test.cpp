#include "support/temp_directory.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <web/web_access.hpp>

#include <fstream>

namespace sublet::manager::web {
namespace {

constexpr const char* kToken = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

WebAccess::Claims for_host(const std::string_view host) {
  WebAccess::Claims claims;
  claims.host = host;
  return claims;
}

class WebAccessTest : public testing::Test {
 protected:
  std::string file(const std::string& text, mode_t mode = 0600) {
    const std::string path = temporary_.path() + "/token";
    std::ofstream(path) << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  test::TempDirectory temporary_;
};

TEST_F(WebAccessTest, TakesATokenForTheOwnerOfItsFile) {
  const auto access = WebAccess::load({file(std::string(kToken) + "\n")}, {});
  ASSERT_TRUE(access) << access.error().what();
  const std::string header = std::string("bearer ") + kToken;
  WebAccess::Claims claims;
  claims.authorization = header;
  const auto asker = access->asker({}, claims);
  ASSERT_TRUE(asker) << asker.error().what();
  EXPECT_TRUE(asker->by_token);
  EXPECT_EQ(asker->caller.uid, ::geteuid());
  EXPECT_EQ(asker->caller.proof, Proof::kKey);
}

TEST_F(WebAccessTest, RefusesFilesThatOthersMayRead) {
  for (const mode_t mode : {0640, 0604, 0660}) {
    const auto access = WebAccess::load({file(kToken, mode)}, {});
    ASSERT_FALSE(access);
    EXPECT_EQ(access.error().kind(), ErrorKind::kDenied);
  }
  for (const char* const text : {"", "short", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"}) {
    EXPECT_FALSE(WebAccess::load({file(text)}, {})) << text;
  }
  EXPECT_FALSE(WebAccess::load({temporary_.path() + "/none"}, {}));
}

TEST_F(WebAccessTest, TakesNobodyBehindAProxyForTheUserOfTheProxy) {
  const WebAccess access({}, {"localhost"});
  const Caller caller{.uid = 0, .gid = 0, .pid = 1, .host = {}, .proof = Proof::kPeerCredentials};
  EXPECT_EQ(access.asker(caller, {})->caller.uid, 0u);
  WebAccess::Claims by_proxy;
  by_proxy.via_proxy = true;
  EXPECT_FALSE(access.asker(caller, by_proxy)->caller.proved());
}

TEST_F(WebAccessTest, KnowsItsHosts) {
  const WebAccess access({}, {"localhost", "login1.example"});
  for (const char* const host : {"localhost", "LOCALHOST:80", "login1.example:8080", "10.0.0.1",
                                 "10.0.0.1:80", "[::1]", "[fe80::1]:80"}) {
    EXPECT_TRUE(access.check_host(for_host(host))) << host;
  }
  for (const char* const host : {"", "login2.example", "example", "localhost.evil", "[::1", "::1",
                                 "10.0.0.1.evil", "0x7f.1"}) {
    EXPECT_FALSE(access.check_host(for_host(host))) << host;
  }
  WebAccess::Claims over_unix;
  over_unix.over_unix = true;
  EXPECT_TRUE(access.check_host(over_unix));
}

}  // namespace
}  // namespace sublet::manager::web
