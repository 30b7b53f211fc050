#include <gtest/gtest.h>
#include <web/limits.hpp>
#include <web/request_target.hpp>

namespace sublet::manager::web {
namespace {

using Parts = std::vector<std::string>;

TEST(RequestTarget, SplitsAndDecodes) {
  const auto target = RequestTarget::parse("/api/v1/nodes/a%2Fb%20c?all=true&since=1%3a2&x+y=z+1");
  ASSERT_TRUE(target) << target.error().what();
  EXPECT_EQ(target->path, (Parts{"api", "v1", "nodes", "a/b c"}));
  EXPECT_EQ(target->value("all"), "true");
  EXPECT_EQ(target->value("since"), "1:2");
  EXPECT_EQ(target->value("x y"), "z 1");
  EXPECT_EQ(target->value("absent"), "");
  EXPECT_TRUE(RequestTarget::parse("/")->path.empty());
}

TEST(RequestTarget, RefusesWhatIsMalformed) {
  for (const char* const text : {"", "*", "http://other/", "api", "//", "/a//b", "/%", "/%4",
                                 "/%g0", "/a%00b", "/a%0ab", "/a?x=%", "/a?x=%0d"}) {
    EXPECT_FALSE(RequestTarget::parse(text)) << text;
  }
  EXPECT_FALSE(RequestTarget::parse("/" + std::string(kMaxSegment + 1, 'x')));
  EXPECT_FALSE(RequestTarget::parse("/" + std::string(kMaxTarget, '/')));
  std::string many = "/?";
  for (std::size_t i = 0; i <= kMaxQuery; ++i) many += "q" + std::to_string(i) + "=1&";
  EXPECT_FALSE(RequestTarget::parse(many));
}

}  // namespace
}  // namespace sublet::manager::web
