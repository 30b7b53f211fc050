#include <base/printable_text.hpp>

#include <gtest/gtest.h>

namespace sublet::base {
namespace {

TEST(PrintableText, LeavesOrdinaryTextAsItIs) {
  for (const char* text : {"", "node-7", "caf\xC3\xA9", "\xE2\x82\xAC 5", "\xF0\x9F\x98\x80"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(PrintableText, ShowsControlCharactersAsQuestionMarks) {
  EXPECT_EQ(printable("a\x1B[2Jb\x07"), "a?[2Jb?");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "?31m")
      << "an escape code of the C1 set";
  EXPECT_EQ(printable("\x7F"), "?");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a?b");
}

TEST(PrintableText, KeepsEverythingOnOneLine) {
  EXPECT_EQ(printable("one\ntwo\tthree\r"), "one two three?");
  EXPECT_EQ(printable("one\xE2\x80\xA8two"), "one?two");
}

TEST(PrintableText, ShowsWhatTurnsTheDirectionOfWritingAsQuestionMarks) {
  EXPECT_EQ(printable("a\xE2\x80\xAEz"), "a?z");
  EXPECT_EQ(printable("a\xE2\x81\xA6z"), "a?z");
}

TEST(PrintableText, ReplacesWhatIsNotUtf8ByteByByte) {
  EXPECT_EQ(printable("\xFF\xFE"), "??");
  EXPECT_EQ(printable("\xC0\xAF"), "??") << "a '/' in two bytes";
  EXPECT_EQ(printable("\xED\xA0\x80"), "???") << "half of a pair";
  EXPECT_EQ(printable("a\xC3"), "a?") << "cut off";
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), "????") << "beyond the last";
}

}  // namespace
}  // namespace sublet::base
