#include <base/json_log.hpp>
#include <base/log.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

namespace sublet::base {
namespace {

TEST(JsonString, IsValidWhateverTheBytes) {
  for (int first = 0; first < 256; ++first) {
    for (const std::string& rest : {std::string(), std::string("\x80"), std::string("\"\\\n"),
                                    std::string("\xA9 z"), std::string("\xED\xA0\x80")}) {
      const std::string text = static_cast<char>(first) + rest;
      const std::string quoted = json_string(text);
      const auto parsed = nlohmann::json::parse(quoted, nullptr, false);
      ASSERT_TRUE(parsed.is_string()) << first << ' ' << quoted;
      EXPECT_EQ(quoted.find('\n'), std::string::npos);
    }
  }
}

TEST(JsonString, KeepsWhatIsText) {
  for (const std::string text : {"", "plain", "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80",
                                 "tab\tline\nquote\" back\\ bell\x07 del\x7F"}) {
    EXPECT_EQ(nlohmann::json::parse(json_string(text)).get<std::string>(), text);
  }
  EXPECT_EQ(json_string("a\xFF"
                        "b"),
            "\"a\xEF\xBF\xBD"
            "b\"");
  EXPECT_EQ(json_string("\x1b["), "\"\\u001b[\"");
}

TEST(JsonLog, WritesAnObjectALine) {
  ::testing::internal::CaptureStderr();
  init_log("some \"daemon\"", spdlog::level::info);
  log_as_json();
  EXPECT_TRUE(logs_json());
  log().warn("two\nlines and {}", "\xC3");
  const std::string said = ::testing::internal::GetCapturedStderr();
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said.find('\n'), said.size() - 1);
  const auto parsed = nlohmann::json::parse(said);
  EXPECT_EQ(parsed["who"], "some \"daemon\"");
  EXPECT_EQ(parsed["level"], "warning");
  EXPECT_EQ(parsed["message"], "two\nlines and \xEF\xBF\xBD");
  EXPECT_EQ(parsed["time"].get<std::string>().at(10), 'T');
  init_log("another", spdlog::level::info);
  EXPECT_FALSE(logs_json());
}

TEST(LogLevel, IsSetByItsName) {
  init_log("test", spdlog::level::info);
  EXPECT_TRUE(set_log_level("debug"));
  EXPECT_EQ(log().level(), spdlog::level::debug);
  EXPECT_FALSE(set_log_level("loud"));
  EXPECT_FALSE(set_log_level(""));
  EXPECT_EQ(log().level(), spdlog::level::debug);
  EXPECT_TRUE(set_log_level("off"));
  EXPECT_EQ(log().level(), spdlog::level::off);
}

}  // namespace
}  // namespace sublet::base
