#pragma once

#include "command_fixture.hpp"
#include "support/eventually.hpp"
#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace sublet::test {

using nlohmann::json;

/// Real managers with one node of 4 workers and a ledger, the command, and programs that lease.
class Leases : public CommandTest {
 protected:
  std::vector<std::string> environment() const {
    auto all = managers_.environment();
    all.emplace_back("SUBLET_LEASE");
    return all;
  }
  Ended sublet(std::vector<std::string> words) { return run(std::move(words), environment()); }
  json listed(std::vector<std::string> words) {
    words.insert(words.end(), {"--output", "json"});
    const Ended ended = sublet(std::move(words));
    auto value = json::parse(ended.output, nullptr, false);
    EXPECT_TRUE(value.is_object()) << ended.output;
    return value;
  }
  /// `sublet lease ...`, and what it has written so far.
  ChildProcess start(std::vector<std::string> words) {
    words.insert(words.begin(), {built_program("sublet"), "lease"});
    ChildProcess::Options options;
    options.environment = environment();
    options.environment.push_back("XDG_RUNTIME_DIR=" + directory_);
    options.output = output_ = directory_ + "/lease-" + std::to_string(++started_);
    return {words, options};
  }
  [[nodiscard]] std::string said() const {
    std::ifstream file(output_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool says(const std::string& text) {
    return eventually([&] { return said().find(text) != std::string::npos; },
                      std::chrono::seconds(30));
  }
  /// What a lease that is kept has printed as JSON.
  json kept() {
    EXPECT_TRUE(says("}\n")) << said();
    return json::parse(said().substr(0, said().find('\n')), nullptr, false);
  }
  static int code_of(ChildProcess& process) {
    const auto status = process.wait(std::chrono::seconds(30));
    return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
  }
  /// A shell's words for a program that leases so many cores and calls a function for so long.
  static std::string user(int cores, int ms, int code = 0, int wait_ms = 0) {
    return built_program("lease_user") + " " CLIENT_FUNCTIONS " " + std::to_string(cores) + " " +
           std::to_string(ms) + " " + std::to_string(code) + " " + std::to_string(wait_ms);
  }

  TestManagers managers_{{TestNode{}}, false, true};  // one node of 4 workers
  std::string output_;
  int started_ = 0;
};

}  // namespace sublet::test
