// What a node offers and how its workers are made, from flags and from the environment.

#include <cli/executor_manager_options.hpp>

#include <boost/program_options.hpp>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace sublet::cli {
namespace {

using Words = std::vector<std::string>;

/// As managers read them: both kinds read variables, an executor manager a file too.
Result<manager::ExecutorManagerOptions> options(const Words& words,
                                                const char* command = "executor-manager") {
  CommandLine line;
  line.name = command;
  line.reads_environment = true;
  add_node_options(line);
  const auto values = parse_options(line, words);
  if (!values) return tl::unexpected<Error>(values.error());
  return node_options(*values);
}

void expect_refused(const Result<manager::ExecutorManagerOptions>& refused,
                    const std::string& part) {
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(refused.error().what()).find(part), std::string::npos)
      << refused.error().what();
}

/// Sets a variable as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(StackSize, IsWhatIsAskedFor) {
  EXPECT_EQ(options({"--stack-size", "256KiB"})->stack_bytes, 256u << 10);
  EXPECT_EQ(options({"--stack-size=1.5M"})->stack_bytes, 1536u << 10);
  EXPECT_EQ(options({"--stack-size", "64GiB"})->stack_bytes, std::uint64_t{64} << 30);
}

TEST(StackSize, IsThatOfTheShellWhereNothingIsSaid) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_STACK, &before), 0);
  const auto with = [&](rlim_t bytes) {
    const rlimit limit{bytes, before.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_STACK, &limit), 0);
    const auto made = options({});
    EXPECT_EQ(made->stack_bytes, options({"--stack-size", "0"})->stack_bytes);
    return made->stack_bytes;
  };
  EXPECT_EQ(with(16u << 20), 16u << 20);
  EXPECT_EQ(with(64u << 10), 256u << 10) << "less is of no use";
  if (before.rlim_max == RLIM_INFINITY) {
    EXPECT_EQ(with(RLIM_INFINITY), 1u << 30);
  }
  ::setrlimit(RLIMIT_STACK, &before);
}

TEST(StackSize, IsRefusedWithTheOptionsName) {
  for (const char* text : {"-1", "-8MiB", "much", "", "8 MiB", "8MiBs", "99999999999TiB", "nan"}) {
    expect_refused(options({std::string("--stack-size=") + text}), "--stack-size");
  }
  for (const char* text : {"1", "255KiB", "65GiB", "8388607TiB"}) {
    expect_refused(options({"--stack-size", text}), std::string("--stack-size is '") + text +
                                                        "'; allowed are 256KiB to 64GiB, and 0");
  }
}

TEST(StackSize, ComesFromTheEnvironmentOfEitherManager) {
  const Variable executor_managers("SUBLET_EXECUTOR_MANAGER_STACK_SIZE", "16MiB");
  const Variable private_managers("SUBLET_PRIVATE_MANAGER_STACK_SIZE", "32MiB");
  EXPECT_EQ(options({})->stack_bytes, 16u << 20);
  EXPECT_EQ(options({}, "private-manager")->stack_bytes, 32u << 20);
  EXPECT_EQ(options({"--stack-size", "64MiB"}, "private-manager")->stack_bytes, 64u << 20);
}

TEST(StackSize, IsRefusedInTheEnvironmentToo) {
  const Variable variable("SUBLET_PRIVATE_MANAGER_STACK_SIZE", "-1");
  expect_refused(options({}, "private-manager"), "--stack-size");
  EXPECT_TRUE(options({}));
}

TEST(CoreDirectory, MustBeThere) {
  EXPECT_EQ(options({})->core_directory, "");
  EXPECT_EQ(options({"--core-directory", "."})->core_directory,
            std::filesystem::absolute(".").string());
  expect_refused(options({"--core-directory", "/there/is/none"}),
                 "--core-directory is '/there/is/none', which is no directory");
  expect_refused(options({"--core-directory", "/dev/null"}), "which is no directory");
}

}  // namespace
}  // namespace sublet::cli
