// What applications with functions of their own do wrong, and what they are told.

#include "manager_client.hpp"
#include "support/child_process.hpp"
#include "support/managers.hpp"
#include "support/temp_directory.hpp"
#include <sublet/session.hpp>

#include <gtest/gtest.h>

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
                std::vector<std::string> environment = {}) {
  for (auto& variable : managers.environment()) environment.push_back(variable);
  ChildProcess child({program, wrong}, {.environment = environment});
  (void)child.wait(std::chrono::seconds(30));
  return child.output();
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

TEST(SingleSourceFaults, ForgottenInitIsToldAtTheFirstLease) {
  const TestManagers managers;
  const std::string output = run(managers, PROGRAM, "forgotten");
  expect_says(output, "has not called sublet::init");
  EXPECT_EQ(managers.output().find("main runs"), std::string::npos);
}

TEST(SingleSourceFaults, TwoFunctionsOfOneNameAreRefusedAtTheStart) {
  const TestManagers managers;
  expect_says(run(managers, PROGRAM_TWICE, "nothing"), "two different functions are called");
}

TEST(SingleSourceFaults, AProgramThatIsTooLargeIsRefused) {
  const TestManagers managers;
  const TempDirectory directory;
  const auto large = std::filesystem::path(directory.path()) / "large";
  std::filesystem::copy_file(PROGRAM, large);
  std::filesystem::resize_file(large, (std::uintmax_t{256} << 20) + 1);
  expect_says(run(managers, large.string(), "nothing"), "strip it");
}

}  // namespace
}  // namespace sublet
