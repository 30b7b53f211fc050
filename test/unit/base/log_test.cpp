#include <base/log.hpp>

#include <gtest/gtest.h>

#include <cstdlib>

namespace sublet::base {
namespace {

/// The process's logger is one for all tests: each sets it up as it needs it.
class Log : public ::testing::Test {
 protected:
  void SetUp() override { ::unsetenv("SUBLET_LOG"); }
  void TearDown() override { ::unsetenv("SUBLET_LOG"); }
};

TEST_F(Log, HasTheDefaultLevelUnlessTheEnvironmentSetsOne) {
  init_log("test", spdlog::level::info);
  EXPECT_EQ(log().level(), spdlog::level::info);
  ::setenv("SUBLET_LOG", "debug", 1);
  init_log("test", spdlog::level::info);
  EXPECT_EQ(log().level(), spdlog::level::debug);
  ::setenv("SUBLET_LOG", "off", 1);
  init_log("test", spdlog::level::info);
  EXPECT_EQ(log().level(), spdlog::level::off);
}

TEST_F(Log, KeepsTheDefaultLevelWhenTheEnvironmentsIsUnknown) {
  ::setenv("SUBLET_LOG", "verbose", 1);
  ::testing::internal::CaptureStderr();
  init_log("test", spdlog::level::warn);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(log().level(), spdlog::level::warn);
  EXPECT_NE(said.find("'verbose'"), std::string::npos) << said;
  EXPECT_EQ(said.find("'verbose'"), said.rfind("'verbose'")) << "said twice: " << said;
}

TEST_F(Log, WritesItsNameAndTheMessageToStderr) {
  ::testing::internal::CaptureStderr();
  init_log("some-daemon", spdlog::level::info);
  log().info("it {}", "works");
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("some-daemon"), std::string::npos) << said;
  EXPECT_NE(said.find("it works"), std::string::npos) << said;
}

}  // namespace
}  // namespace sublet::base
