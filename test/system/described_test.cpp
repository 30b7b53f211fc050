// Manual pages and completions, as those read them who are meant to.

#include "command_fixture.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace sublet::test {
namespace {

namespace fs = std::filesystem;

class Described : public CommandTest {
 protected:
  void SetUp() override {
    const Ended ended = run({"describe", "--directory", share_});
    ASSERT_EQ(ended.code, 0) << ended.output;
  }

  /// Commands, as `sublet --help` lists them.
  std::set<std::string> commands() {
    std::set<std::string> names;
    std::istringstream lines(run({"--help"}).output);
    for (std::string line; std::getline(lines, line);) {
      std::smatch match;
      if (std::regex_match(line, match, std::regex("  ([a-z][a-z-]+) {2,}.*"))) {
        names.insert(match[1]);
      }
    }
    return names;
  }

  /// Long options, as `sublet COMMAND --help` lists them.
  std::set<std::string> options(const std::vector<std::string>& command) {
    auto words = command;
    words.emplace_back("--help");
    const std::string help = run(words).output;
    std::set<std::string> names;
    const std::regex option("^ {1,3}(?:-[a-z] \\[ )?--([a-z][a-z-]+)");
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
      std::smatch match;
      if (std::regex_search(line, match, option)) names.insert(match[1]);
    }
    return names;
  }

  bool installed(const std::string& program) {
    return run_program({"/bin/sh", "-c", "command -v " + program}).code == 0;
  }

  /// What bash offers for the last of `words`.
  std::set<std::string> bash_offers(const std::vector<std::string>& words) {
    std::string line;
    std::string array;
    for (const std::string& word : words) {
      line += (line.empty() ? "" : " ") + word;
      array += "'" + word + "' ";
    }
    const std::string script =
        "source " + share_ + "/bash-completion/completions/sublet; COMP_WORDS=(" + array +
        "); COMP_CWORD=" + std::to_string(words.size() - 1) + "; COMP_LINE='" + line +
        "'; _sublet; printf '%s\\n' \"${COMPREPLY[@]}\"";
    const Ended ended = run_program({"/bin/bash", "--norc", "-c", script});
    EXPECT_EQ(ended.code, 0) << ended.output;
    std::set<std::string> offers;
    std::istringstream replies(ended.output);
    for (std::string reply; std::getline(replies, reply);) {
      if (!reply.empty()) offers.insert(reply);
    }
    return offers;
  }

  static std::string content(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::string share_ = directory_ + "/share";
};

TEST_F(Described, EachPageRendersWithoutWarnings) {
  if (!installed("groff")) GTEST_SKIP() << "groff is not installed";
  std::size_t pages = 0;
  for (const auto& entry : fs::recursive_directory_iterator(share_ + "/man")) {
    if (!entry.is_regular_file()) continue;
    ++pages;
    const Ended ended = run_program(
        {"/bin/sh", "-c", "groff -man -ww -z -Tutf8 " + entry.path().string() + " 2>&1"});
    EXPECT_EQ(ended.code, 0);
    EXPECT_EQ(ended.output, "") << entry.path();
  }
  EXPECT_EQ(pages, commands().size() + 3);
}

TEST_F(Described, EachCommandAndOptionIsOnItsPage) {
  if (!installed("groff")) GTEST_SKIP() << "groff is not installed";
  const auto rendered = [this](const std::string& page) {
    return run_program({"/bin/sh", "-c",
                        "groff -man -Tascii -P-c -P-b -P-u -rLL=200n " + share_ + "/man/" + page})
        .output;
  };
  const std::string overview = rendered("man1/sublet.1");
  for (const std::string& command : commands()) {
    expect_contains(overview, "sublet-" + command);
    const std::string page = rendered("man1/sublet-" + command + ".1");
    expect_contains(page, "EXIT STATUS");
    if (command == "bench") continue;
    const auto names = options({command});
    EXPECT_FALSE(command != "key" && command != "slurm" && names.empty()) << command;
    for (const std::string& option : names) {
      if (option == "words" || option == "node" || option == "lease" || option == "action" ||
          option == "library" || option == "program") {
        continue;  // may be the word without a flag
      }
      EXPECT_NE(page.find("--" + option), std::string::npos) << command << " --" << option;
    }
  }
  const std::string bench = rendered("man1/sublet-bench.1");
  for (const std::string& option : options({"bench", "latency"})) {
    expect_contains(bench, "--" + option);
  }
  const std::string file = rendered("man5/sublet-manager.conf.5");
  for (const std::string command : {"resource-manager", "executor-manager"}) {
    expect_contains(file, "[" + command + "]");
    for (const std::string& option : options({command})) {
      if (option != "config") expect_contains(file, option + " = ");
    }
  }
}

TEST_F(Described, BashCompletesCommandsOptionsAndValues) {
  const auto all = bash_offers({"sublet", ""});
  for (const std::string& command : commands()) EXPECT_TRUE(all.contains(command)) << command;
  EXPECT_FALSE(all.contains("private-manager") || all.contains("describe"));
  EXPECT_EQ(bash_offers({"sublet", "nod"}), (std::set<std::string>{"nodes"}));
  for (const std::string command : {"nodes", "executor-manager", "doctor"}) {
    const auto offered = bash_offers({"sublet", command, "--"});
    for (const std::string& option : options({command})) {
      EXPECT_TRUE(offered.contains("--" + option)) << command << " --" << option;
    }
  }
  const std::set<std::string> formats{"json", "table"};
  EXPECT_EQ(bash_offers({"sublet", "nodes", "--output", ""}), formats);
  EXPECT_EQ(bash_offers({"sublet", "nodes", "--output", "=", "j"}),
            (std::set<std::string>{"json"}));
  EXPECT_EQ(bash_offers({"sublet", "nodes", "--output", "="}), formats);
  EXPECT_EQ(bash_offers({"sublet", "quota", "s"}), (std::set<std::string>{"set", "show"}));
  EXPECT_TRUE(bash_offers({"sublet", "bench", "la"}).contains("latency"));
  EXPECT_TRUE(bash_offers({"sublet", "bench", "latency", "--si"}).contains("--sizes"));
  // Where a file is wanted.
  std::ofstream(directory_ + "/some.conf") << "\n";
  EXPECT_EQ(bash_offers({"sublet", "executor-manager", "--config", directory_ + "/so"}),
            (std::set<std::string>{directory_ + "/some.conf"}));
}

TEST_F(Described, ZshAndFishReadTheirs) {
  bool any = false;
  for (const auto& [shell, file] :
       {std::pair<std::string, std::string>{"zsh", "zsh/site-functions/_sublet"},
        {"fish", "fish/vendor_completions.d/sublet.fish"}}) {
    const std::string path = share_ + "/" + file;
    const std::string text = content(path);
    for (const std::string& command : commands()) expect_contains(text, command);
    if (!installed(shell)) continue;
    any = true;
    const Ended ended = run_program({"/bin/sh", "-c", shell + " -n " + path + " 2>&1"});
    EXPECT_EQ(ended.code, 0) << ended.output;
  }
  if (installed("fish")) {
    const Ended ended =
        run_program({"/bin/sh", "-c",
                     "HOME=" + directory_ + " fish --no-config -c 'source " + share_ +
                         "/fish/vendor_completions.d/sublet.fish; complete -C \"sublet "
                         "nodes --output \"'"});
    expect_contains(ended.output, "json");
  }
  if (!any) GTEST_SKIP() << "neither zsh nor fish is installed";
}

}  // namespace
}  // namespace sublet::test
