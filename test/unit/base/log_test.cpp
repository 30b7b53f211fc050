#include <base/fd.hpp>
#include <base/log.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

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

/// As when a function prints more than anybody reads, into the pipe that is its manager's log too.
TEST_F(Log, WaitsForNobodyWhoDoesNotRead) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  const int flags = ::fcntl(writer.get(), F_GETFL);
  ::fcntl(writer.get(), F_SETFL, flags | O_NONBLOCK);
  const std::string block(4096, '.');
  while (::write(writer.get(), block.data(), block.size()) > 0) {
  }
  ::fcntl(writer.get(), F_SETFL, flags);
  const Fd kept(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  ::dup2(writer.get(), STDERR_FILENO);
  writer.reset();
  init_log("test", spdlog::level::info);
  ::alarm(60);  // it would wait for ever
  for (int i = 0; i < 3; ++i) log().info("nobody reads");
  ::alarm(0);
  const auto read_all = [&] {
    std::string text;
    char part[4096];
    for (pollfd there{reader.get(), POLLIN, 0};
         ::poll(&there, 1, 0) > 0 && (there.revents & POLLIN);) {
      text.append(part, static_cast<std::size_t>(::read(reader.get(), part, sizeof(part))));
    }
    return text;
  };
  EXPECT_EQ(read_all().find("nobody"), std::string::npos);
  log().info("somebody reads");
  ::dup2(kept.get(), STDERR_FILENO);
  init_log("test", spdlog::level::info);
  const std::string said = read_all();
  EXPECT_TRUE(said.starts_with("3 lines of this log are lost")) << said;
  EXPECT_NE(said.find("somebody reads"), std::string::npos) << said;
}

}  // namespace
}  // namespace sublet::base
