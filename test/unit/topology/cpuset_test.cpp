#include <topology/cpuset.hpp>

#include <gtest/gtest.h>

namespace sublet::topology {
namespace {

std::string list_of(std::string_view text) {
  auto set = Cpuset::parse(text);
  return set ? set->to_list() : "error: " + std::string(set.error().what());
}

TEST(Cpuset, ReadsLists) {
  EXPECT_EQ(list_of("0"), "0");
  EXPECT_EQ(list_of("0,2-3"), "0,2-3");
  EXPECT_EQ(list_of("3,2,1,0"), "0-3");
  EXPECT_EQ(list_of("4-"), "4-");
  EXPECT_EQ(list_of("65535"), "65535");
}

TEST(Cpuset, ReadsMasks) {
  EXPECT_EQ(list_of("0x0000000f"), "0-3");
  EXPECT_EQ(list_of("0x5"), "0,2");
  EXPECT_EQ(list_of("0x00000001,0x00000002"), "1,32");
  EXPECT_EQ(list_of("0x1,,0x0"), "64");
  EXPECT_EQ(list_of("0xf...f"), "0-");
  EXPECT_EQ(list_of("0xf...f,0x00000003"), "0-1,32-");
  EXPECT_EQ(list_of("0x0"), "");
}

TEST(Cpuset, SaysWhatIsWrongWithGarbage) {
  for (const char* text : {"",     " ",    "a",           "0,",    ",0",         "1-0",
                           "-1",   "0--1", "1 2",         "65536", "4294967295", "0-99999999999",
                           "0x",   "0xg",  "0x123456789", "0x1,2", "0xf...fx",   "0xf...",
                           "0x1 ", "0;1",  "1.5",         "+1"}) {
    const auto set = Cpuset::parse(text);
    ASSERT_FALSE(set) << "accepted '" << text << "' as " << set->to_list();
    EXPECT_EQ(set.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(set.error().what()).find("no set of cores"), std::string::npos);
  }
  EXPECT_NE(list_of("0,7-3").find("'7-3' ends before it begins"), std::string::npos);
  EXPECT_NE(list_of("0,x1").find("'x1'"), std::string::npos);
  EXPECT_LT(list_of(std::string(100000, ',')).size(), 300u);
  EXPECT_LT(list_of("0x1" + std::string(100000, ',')).size(), 300u);
}

TEST(Cpuset, ComparesAndCombines) {
  const Cpuset low = *Cpuset::parse("0-3");
  const Cpuset high = *Cpuset::parse("4-7");
  Cpuset both = low;
  both |= high;
  EXPECT_EQ(both.to_list(), "0-7");
  EXPECT_EQ(both.count(), 8u);
  EXPECT_FALSE(low.intersects(high));
  EXPECT_TRUE(both.contains(low));
  EXPECT_FALSE(low.contains(both));
  both &= low;
  EXPECT_EQ(both, low);
  both &= high;
  EXPECT_TRUE(both.empty());
  EXPECT_EQ(Cpuset().to_list(), "");
}

TEST(Cpuset, RoundTripsThroughItsList) {
  for (const char* text : {"0", "0,2-3", "1,3,5,7,9", "63-65,128", "7-"}) {
    EXPECT_EQ(list_of(text), text);
  }
}

}  // namespace
}  // namespace sublet::topology
