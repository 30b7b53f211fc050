#pragma once

#include "support/child_process.hpp"
#include "support/temp_directory.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sublet::test {

/// Runs the command of this build, with a directory of its own in which it finds no manager.
class CommandTest : public testing::Test {
 protected:
  struct Ended {
    int code = -1;
    std::string output;
  };

  Ended run(std::vector<std::string> words, std::vector<std::string> environment = {}) {
    words.insert(words.begin(), built_program("sublet"));
    return run_program(words, std::move(environment));
  }

  /// Any program, its path first. Several may run at one time.
  Ended run_program(const std::vector<std::string>& words,
                    std::vector<std::string> environment = {}) {
    environment.push_back("XDG_RUNTIME_DIR=" + directory_);
    ChildProcess::Options options;
    options.environment = std::move(environment);
    options.output = directory_ + "/output-" + std::to_string(++runs_);
    ChildProcess process(words, options);
    const auto status = process.wait(std::chrono::seconds(20));
    Ended ended;
    if (status && WIFEXITED(*status)) ended.code = WEXITSTATUS(*status);
    std::ifstream file(options.output);
    ended.output.assign(std::istreambuf_iterator<char>(file), {});
    return ended;
  }

  const TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  std::atomic<int> runs_{0};
};

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

}  // namespace sublet::test
