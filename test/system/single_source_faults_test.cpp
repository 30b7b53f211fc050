// What applications with functions of their own do wrong, and what they are told.

#include "manager_client.hpp"
#include "support/child_process.hpp"
#include "support/managers.hpp"
#include "support/temp_directory.hpp"
#include <sublet/session.hpp>

#include <gtest/gtest.h>
#include <sublet.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sublet {
namespace {

using test::ChildProcess;
using test::TempDirectory;
using test::TestManagers;

/// The program's output; `wrong` is what its main() does wrong.
std::string run(const TestManagers& managers, const std::string& program, const std::string& wrong,
                std::vector<std::string> environment = {},
                const std::vector<std::string>& more = {}) {
  for (auto& variable : managers.environment()) environment.push_back(variable);
  const TempDirectory directory;
  const auto file = std::filesystem::path(directory.path()) / "output";
  std::vector<std::string> arguments{program, wrong};
  arguments.insert(arguments.end(), more.begin(), more.end());
  ChildProcess child(arguments, {.environment = environment, .output = file.string(), .fds = {}});
  EXPECT_TRUE(child.wait(std::chrono::seconds(30))) << "it does not end";
  std::ifstream text(file);
  return {std::istreambuf_iterator<char>(text), {}};
}

/// As the programs print it.
std::string code_text(int code) {
  return "code " + std::to_string(code) + ": " + sublet_error_string(code) + "\n";
}

void expect_says(const std::string& output, const std::string& text) {
  EXPECT_NE(output.find(text), std::string::npos) << "not there: " << text << "\nin: " << output;
}

TEST(SingleSourceFaults, RunsMainOnceWhenNothingIsWrong) {
  const TestManagers managers;
  for (const char* program : {PROGRAM, PROGRAM_FIXED, PROGRAM_COLLECTED}) {
    const std::string output = run(managers, program, "nothing");
    EXPECT_EQ(output, "main runs\nresult 42\n") << program;
  }
  EXPECT_EQ(managers.output().find("main runs"), std::string::npos) << "an executor ran main()";
}

#ifdef PROGRAM_SANITIZED
TEST(SingleSourceFaults, AProgramBuiltWithASanitizerRuns) {
  const TestManagers managers;
  EXPECT_EQ(run(managers, PROGRAM_SANITIZED, "nothing"), "main runs\nresult 42\n");
}
#endif

TEST(SingleSourceParts, OfSharedObjectsAreCalledAsWhatTheyAre) {
  const TestManagers managers;
  for (const std::string transport : {"shm", "tcp", "fabric"}) {
    const std::string output =
        run(managers, PROGRAM_PARTS, "nothing", {"SUBLET_TRANSPORT=" + transport});
    if (transport == "fabric" && output.find("fabric cannot be used") != std::string::npos)
      continue;
    EXPECT_EQ(output, "main runs\npart 43 of " + transport + ", program 4\nresult 42\n");
  }
}

TEST(SingleSourceParts, ThatAreLoadedLaterAreToldFrom) {
  const TestManagers managers;
  const std::string output = run(managers, PROGRAM, "loads", {}, {PART});
  expect_says(output, "has no function 'work(sublet::Lease&)::{lambda(int)#1}' in its executor");
  expect_says(output, "link that one instead");
}

TEST(SingleSourceFaults, ForgottenInitIsToldAtTheFirstLease) {
  const TestManagers managers;
  const std::string output = run(managers, PROGRAM, "forgotten");
  expect_says(output, "has not called sublet::init");
  expect_says(output, code_text(SUBLET_ERR_NO_INIT));
  EXPECT_EQ(managers.output().find("main runs"), std::string::npos);
}

TEST(SingleSourceFaults, TwoFunctionsOfOneNameAreRefusedAtTheStart) {
  const TestManagers managers;
  const std::string output = run(managers, PROGRAM_TWINS, "nothing");
  expect_says(output, "two different functions are called");
  expect_says(output, "work");
  expect_says(output, code_text(SUBLET_ERR_AMBIGUOUS));
}

TEST(SingleSourceFaults, AProgramThatIsTooLargeIsRefused) {
  const TestManagers managers;
  const TempDirectory directory;
  const auto large = std::filesystem::path(directory.path()) / "large";
  std::filesystem::copy_file(PROGRAM, large);
  std::filesystem::resize_file(large, (std::uintmax_t{256} << 20) + 1);
  const std::string output = run(managers, large.string(), "nothing");
  expect_says(output, "strip it");
  expect_says(output, code_text(SUBLET_ERR_TOO_LARGE));
}

TEST(SingleSourceFaults, AProgramThatLoadsSubletItselfIsRefused) {
  const TestManagers managers;
  for (const char* scope : {"local", "global"}) {
    const std::string output = run(managers, PLUGIN_HOST, scope, {}, {PLUGIN});
    expect_says(output, "is no application of Sublet: it is not linked to libsublet");
    expect_says(output, code_text(SUBLET_ERR_NO_APPLICATION));
    EXPECT_EQ(managers.output().find("main runs"), std::string::npos) << "an executor ran main()";
  }
}

/// A lease whose executor is to run another program than its client's.
class SingleSourceProgram : public testing::Test {
 public:
  ~SingleSourceProgram() noexcept override {}  // a capability's may throw

 protected:
  TestManagers managers_;
  test::ManagerClient client_{managers_.address()};
  test::LeaseOfTest lease_ = client_.lease(1).value_or_throw();
  test::ClaimOfTest claim_ = client_.claim(lease_.grants[0]).value_or_throw();
};

TEST_F(SingleSourceProgram, ThatIsNoApplicationIsNotRun) {
  ASSERT_TRUE(client_.become(claim_, "/bin/true"));
  expect_says(client_.fate(claim_, 1), "'true' is no application of Sublet");
}

TEST_F(SingleSourceProgram, ThatIsLinkedStaticallyIsRefused) {
  const auto refused = client_.become(claim_, PROGRAM_STATIC);
  ASSERT_FALSE(refused);
  expect_says(refused.error().what(), "linked statically");
  EXPECT_EQ(refused.error().kind(), ErrorKind::kStaticProgram);
}

TEST_F(SingleSourceProgram, ThatIsNoProgramIsRefused) {
  const auto refused = client_.become(claim_, CLIENT_FUNCTIONS);
  ASSERT_FALSE(refused);
  expect_says(refused.error().what(), "cannot be run: it is a shared object");
  EXPECT_EQ(refused.error().kind(), ErrorKind::kNoApplication);
}

TEST_F(SingleSourceProgram, WhoseSharedObjectIsAnotherOneIsToldWhich) {
  ASSERT_TRUE(client_.become(claim_, PROGRAM, "object libc.so.6 0123456789abcdef\n"));
  const auto opened = client_.open(claim_, 0, PROGRAM, "f#0123456789abcdef");
  ASSERT_FALSE(opened);
  expect_says(opened.error().what(), "libc.so.6 is another one on this node");
  expect_says(opened.error().what(), "0123456789ab");
  EXPECT_EQ(opened.error().kind(), ErrorKind::kOtherBuild);
}

TEST_F(SingleSourceProgram, HasOnlyItsOwnFunctions) {
  ASSERT_TRUE(client_.become(claim_, PROGRAM));
  const auto opened = client_.open(claim_, 0, PROGRAM, "f#0123456789abcdef");
  ASSERT_FALSE(opened);
  expect_says(opened.error().what(), "has no function 'f'");
  EXPECT_FALSE(client_.open(claim_, 1, PROGRAM, "no key"));
}

TEST_F(SingleSourceProgram, IsChosenOnceAndBeforeAnyFunction) {
  ASSERT_TRUE(client_.become(claim_, PROGRAM));
  const auto again = client_.become(claim_, PROGRAM);
  ASSERT_FALSE(again);
  expect_says(again.error().what(), "runs an application");
}

}  // namespace
}  // namespace sublet
