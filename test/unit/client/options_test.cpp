#include "support/temp_directory.hpp"
#include <sublet/session.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sublet {
namespace {

/// An environment of its own for each test: a private configuration file, no SUBLET_* variables.
class Options : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kVariables) ::unsetenv(name);
    ::setenv("XDG_CONFIG_HOME", directory_.c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : kVariables) ::unsetenv(name);
  }

  void write_config(const std::string& text) {
    std::filesystem::create_directories(directory_ + "/sublet");
    std::ofstream(directory_ + "/sublet/sublet.conf") << text;
  }

  /// Loads with these arguments; `rest` becomes what is left of them.
  Result<SessionOptions> load(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "program");
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int argc = static_cast<int>(arguments.size());
    auto options = SessionOptions::load(&argc, argv.data());
    rest_.assign(argv.begin() + 1, argv.begin() + argc);
    return options;
  }

  static constexpr const char* kVariables[] = {
      "SUBLET_CONFIG",     "SUBLET_MANAGER", "SUBLET_ALLOW_PRIVATE", "SUBLET_NODE_NAME",
      "SUBLET_TIMEOUT_MS", "SUBLET_TRACE",   "SUBLET_PRIVATE_CPUSET"};
  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  std::vector<std::string> rest_;
};

TEST_F(Options, AreTheDefaultsWhenNothingIsSet) {
  auto options = load({});
  ASSERT_TRUE(options) << options.error().what();
  EXPECT_EQ(options->manager, "");
  EXPECT_TRUE(options->allow_private);
  EXPECT_EQ(options->timeout, std::chrono::milliseconds(5000));
}

TEST_F(Options, TakeFileThenEnvironmentThenFlag) {
  write_config("manager = unix:/from/file\ntimeout-ms = 100\nnode-name = file\n");
  auto options = load({});
  ASSERT_TRUE(options) << options.error().what();
  EXPECT_EQ(options->manager, "unix:/from/file");
  EXPECT_EQ(options->timeout, std::chrono::milliseconds(100));

  ::setenv("SUBLET_MANAGER", "unix:/from/environment", 1);
  ::setenv("SUBLET_TIMEOUT_MS", "200", 1);
  options = load({"--sublet-manager=unix:/from/flag"});
  ASSERT_TRUE(options) << options.error().what();
  EXPECT_EQ(options->manager, "unix:/from/flag");
  EXPECT_EQ(options->timeout, std::chrono::milliseconds(200));
  EXPECT_EQ(options->node_name, "file");
}

TEST_F(Options, AreCompletedWhereTheProgramLeavesThemOpen) {
  write_config("transport = tcp\ntimeout-ms = 100\n");
  ::setenv("SUBLET_TRACE", "true", 1);
  SessionOptions own;
  own.timeout = std::chrono::milliseconds(300);
  own.node_name = "mine";
  const auto options = own.completed();
  ASSERT_TRUE(options) << options.error().what();
  EXPECT_EQ(options->transport, "tcp");
  EXPECT_EQ(options->timeout, std::chrono::milliseconds(300));
  EXPECT_EQ(options->node_name, "mine");
  EXPECT_TRUE(options->trace);

  // What was loaded has said all: a flag may say the default again.
  auto loaded = load({"--sublet-trace=false"});
  ASSERT_TRUE(loaded) << loaded.error().what();
  EXPECT_FALSE(loaded->completed().value_or_throw().trace);

  ::setenv("SUBLET_TRACE", "perhaps", 1);
  EXPECT_FALSE(own.completed());
}

TEST_F(Options, LeaveTheApplicationsOwnFlags) {
  auto options =
      load({"--steps", "3", "--sublet-trace", "true", "input", "--", "--sublet-manager"});
  ASSERT_TRUE(options) << options.error().what();
  EXPECT_TRUE(options->trace);
  EXPECT_EQ(rest_, (std::vector<std::string>{"--steps", "3", "input", "--", "--sublet-manager"}));
}

TEST_F(Options, NameTheOptionAndItsSourceWhenTheValueIsBad) {
  ::setenv("SUBLET_TIMEOUT_MS", "soon", 1);
  auto options = load({});
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().kind(), ErrorKind::kInvalid);
  const std::string text = options.error().what();
  EXPECT_NE(text.find("timeout-ms"), std::string::npos) << text;
  EXPECT_NE(text.find("SUBLET_TIMEOUT_MS"), std::string::npos) << text;
  EXPECT_NE(text.find("'soon'"), std::string::npos) << text;
}

TEST_F(Options, RefuseNumbersOutOfRange) {
  for (const char* value : {"0", "-1", "99999999999999999999", "", " 5", "5ms"}) {
    EXPECT_FALSE(load({std::string("--sublet-timeout-ms=") + value})) << value;
  }
}

TEST_F(Options, RefuseUnknownFlagsAndKeys) {
  auto options = load({"--sublet-magic=1"});
  ASSERT_FALSE(options);
  EXPECT_NE(std::string(options.error().what()).find("--sublet-manager"), std::string::npos);
  write_config("magic = 1\n");
  EXPECT_FALSE(load({}));
}

TEST_F(Options, RefuseAFlagWithoutItsValue) {
  EXPECT_FALSE(load({"--sublet-manager"}));
}

TEST_F(Options, RefuseAConfigurationFileThatIsNamedAndNotThere) {
  ::setenv("SUBLET_CONFIG", (directory_ + "/none.conf").c_str(), 1);
  EXPECT_FALSE(load({}));
}

}  // namespace
}  // namespace sublet
