#include "support/temp_directory.hpp"
#include <cli/exit_codes.hpp>
#include <cli/options.hpp>
#include <cli/output.hpp>
#include <cli/private_directory.hpp>
#include <cli/slurm_templates.hpp>

#include <boost/program_options.hpp>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

/// Sets variables for one test, and a directory that goes with it.
class CliTest : public testing::Test {
 protected:
  CliTest() {
    set("XDG_CONFIG_HOME", directory_ + "/config");
    set("XDG_RUNTIME_DIR", directory_);
  }
  ~CliTest() override {
    for (const auto& [name, value] : before_) {
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
    }
  }

  void set(const std::string& name, const std::string& value) {
    const char* old = std::getenv(name.c_str());
    before_.emplace_back(name, old == nullptr ? std::nullopt : std::optional<std::string>(old));
    ::setenv(name.c_str(), value.c_str(), 1);
  }

  std::string file(const std::string& content) {
    std::string path = directory_ + "/manager.conf";
    std::ofstream(path) << content;
    return path;
  }

  static CommandLine line() {
    CommandLine made;
    made.name = "test-manager";
    made.options.add_options()("cores", po::value<std::uint32_t>()->default_value(1), "")(
        "name", po::value<std::string>()->default_value("nobody"), "")(
        "listen", po::value<std::vector<std::string>>(), "")("config", po::value<std::string>(),
                                                             "");
    made.lists = {"listen"};
    made.configurable = true;
    made.aliases = {{"SUBLET_TEST_ALIAS", "name"}};
    return made;
  }

  static void expect_refused(const Result<po::variables_map>& values, const std::string& part) {
    ASSERT_FALSE(values);
    EXPECT_EQ(values.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(values.error().what()).find(part), std::string::npos)
        << values.error().what();
  }

  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

TEST_F(CliTest, LaterSourcesWin) {
  const std::string path =
      file("[test-manager]\ncores = 2\nname = file\n[executor-manager]\ncores = 9\n");
  EXPECT_EQ((*parse_options(line(), {}))["cores"].as<std::uint32_t>(), 1u);
  auto values = parse_options(line(), {"--config", path});
  ASSERT_TRUE(values) << values.error().what();
  EXPECT_EQ((*values)["cores"].as<std::uint32_t>(), 2u);
  set("SUBLET_TEST_MANAGER_CORES", "3");
  values = parse_options(line(), {"--config", path});
  EXPECT_EQ((*values)["cores"].as<std::uint32_t>(), 3u);
  EXPECT_EQ((*values)["name"].as<std::string>(), "file");
  values = parse_options(line(), {"--config", path, "--cores=4"});
  EXPECT_EQ((*values)["cores"].as<std::uint32_t>(), 4u);
}

TEST_F(CliTest, ListsComeFromEverySourceButAreNotMixed) {
  const std::string path = file("[test-manager]\nlisten = unix:a, unix:b\n");
  using List = std::vector<std::string>;
  auto values = parse_options(line(), {"--config", path});
  ASSERT_TRUE(values) << values.error().what();
  EXPECT_EQ((*values)["listen"].as<List>(), (List{"unix:a", "unix:b"}));
  values = parse_options(line(), {"--config", path, "--listen", "unix:c", "--listen", "unix:d"});
  EXPECT_EQ((*values)["listen"].as<List>(), (List{"unix:c", "unix:d"}));
}

TEST_F(CliTest, VariablesWithNamesOfTheirOwnSetOptions) {
  set("SUBLET_TEST_ALIAS", "somebody");
  EXPECT_EQ((*parse_options(line(), {}))["name"].as<std::string>(), "somebody");
  EXPECT_EQ((*parse_options(line(), {"--name", "me"}))["name"].as<std::string>(), "me");
}

TEST_F(CliTest, ErrorsNameTheOptionAndTheSource) {
  expect_refused(parse_options(line(), {"--core", "1"}), "--core");
  expect_refused(parse_options(line(), {"--cores", "many"}), "command line");
  expect_refused(parse_options(line(), {"word"}), "'word'");
  expect_refused(parse_options(line(), {"--config", directory_ + "/none"}), "cannot be read");
  expect_refused(parse_options(line(), {"--config", file("[test-manager]\ncolour = red\n")}),
                 "colour");
  expect_refused(parse_options(line(), {"--config", file("[test-manager]\ncores = red\n")}),
                 "manager.conf");
  expect_refused(parse_options(line(), {"--config", file("[test-manager\n")}), "manager.conf");
  set("SUBLET_TEST_MANAGER_COLOUR", "red");
  expect_refused(parse_options(line(), {}), "SUBLET_TEST_MANAGER_COLOUR");
}

TEST_F(CliTest, NumbersThatAreNoneAreNamedAsTyped) {
  for (const std::string text : {"-1", "4294967296", "1.5", "0x10", " 1", "8k"}) {
    expect_refused(parse_options(line(), {"--cores=" + text}), "--cores is '" + text + "'");
    expect_refused(parse_options(line(), {"--cores=" + text}), "in the command line");
  }
  expect_refused(parse_options(line(), {"--cores", "-1"}), "--cores is '-1'");
  EXPECT_TRUE(parse_options(line(), {"--cores", "4294967295"}));
  set("SUBLET_TEST_MANAGER_CORES", "-2");
  expect_refused(parse_options(line(), {}), "--cores is '-2'");
  expect_refused(parse_options(line(), {}), "in the environment");
}

TEST_F(CliTest, AFileThatIsADirectoryIsRefused) {
  expect_refused(parse_options(line(), {"--config", directory_}), "it is a directory");
}

TEST_F(CliTest, SectionsThatNobodyReadsAreRefused) {
  const auto refused = [this](const std::string& content, const std::string& part) {
    expect_refused(parse_options(line(), {"--config", file(content)}), part);
  };
  refused("[executor-manger]\ncores = 2\n", "a section [executor-manger], which no command reads");
  refused("[executor-manger]\ncores = 2\n",
          "sections are [test-manager], [resource-manager], [executor-manager]");
  refused("cores = 2\n[test-manager]\nname = me\n", "sets 'cores' before the first section");
  ASSERT_TRUE(parse_options(
      line(), {"--config", file("# nothing\n[resource-manager]\nanything = 1\n[test-manager]\n")}));
}

TEST_F(CliTest, AWordThatIsMissingOrTooManyIsToldWithTheUsage) {
  CommandLine made;
  made.name = "look";
  made.arguments = "THING [OPTIONS]";
  made.positional = "thing";
  made.options.add_options()("thing", po::value<std::string>()->required(), "what to look at");
  EXPECT_EQ((*parse_options(made, {"here"}))["thing"].as<std::string>(), "here");
  expect_refused(parse_options(made, {}),
                 "THING is missing (what to look at); usage: sublet look THING [OPTIONS]");
  expect_refused(parse_options(made, {"here", "there"}),
                 "what is 'there'? usage: sublet look THING [OPTIONS]");
}

TEST_F(CliTest, HelpIsAnsweredWhateverElseIsWrong) {
  const auto values = parse_options(line(), {"--nonsense", "--help"});
  ASSERT_TRUE(values);
  EXPECT_EQ(values->count("help"), 1u);
}

TEST(ParseSize, ReadsUnits) {
  EXPECT_EQ(parse_duration("0")->count(), 0);
  EXPECT_EQ(parse_duration("2")->count(), 2000);
  EXPECT_EQ(parse_duration("500ms")->count(), 500);
  EXPECT_EQ(parse_duration("1.5min")->count(), 90'000);
  EXPECT_EQ(parse_duration("24h")->count(), 86'400'000);
  EXPECT_EQ(parse_duration("10m")->count(), 600'000);
  for (const char* text : {"", "s", "-1s", "5 s", "5days", "25h", "2d", "1e99"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  EXPECT_EQ(parse_duration("7d", wire::kMaxWait)->count(), 7 * 86'400'000);
  EXPECT_FALSE(parse_duration("169h", wire::kMaxWait));
  EXPECT_EQ(*parse_amount("cores", "64"), 64u);
  EXPECT_EQ(*parse_amount("cores", "none"), std::nullopt);
  for (const char* text : {"", "-1", "1.5", "many", "99999999999999999999"}) {
    EXPECT_FALSE(parse_amount("cores", text)) << text;
  }
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("512MiB"), 512u << 20);
  EXPECT_EQ(*parse_size("1.5GiB"), std::uint64_t{3} << 29);
  EXPECT_EQ(*parse_size("2K"), 2048u);
  EXPECT_EQ(*parse_size("2TB"), std::uint64_t{2} << 40);
  EXPECT_EQ(*parse_size("10B"), 10u);
}

TEST(ParseSize, RefusesWhatIsNone) {
  for (const char* text : {"", "GiB", "-1", "1 GiB", "1Q", "1KM", "1e3", "nan", "9999999999TiB"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(FormatTable, AlignsNumbersRightAndTextLeft) {
  EXPECT_EQ(format_table({{"NODE", "CORES"}, {"a-long-name", "8"}, {"b", "128"}}),
            "NODE         CORES\n"
            "a-long-name      8\n"
            "b              128\n");
  EXPECT_EQ(format_table({{"NODE", "STATE"}}), "NODE  STATE\n");
}

TEST(FormatTable, CountsCharactersNotBytes) {
  EXPECT_EQ(format_table({{"A", "B"}, {"\xC3\xA9", "x"}}), "A  B\n\xC3\xA9  x\n");
}

TEST(ExitCode, SaysWhoseNoItWas) {
  EXPECT_EQ(exit_code(ErrorKind::kDisconnected), kExitUnreachable);
  EXPECT_EQ(exit_code(ErrorKind::kOverloaded), kExitRefused);
  EXPECT_EQ(exit_code(ErrorKind::kDenied), kExitRefused);
  EXPECT_EQ(exit_code(ErrorKind::kInvalid), kExitUsage);
  EXPECT_EQ(exit_code(ErrorKind::kInternal), kExitFailure);
  EXPECT_EQ(exit_code(kLastErrorKind), kExitFailure);
}

TEST_F(CliTest, PrivateDirectoryGoesWithItsOwner) {
  std::string path;
  {
    const auto directory = PrivateDirectory::make("");
    ASSERT_TRUE(directory) << directory.error().what();
    path = directory->path();
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(CliTest, PrivateDirectoryOfAKilledProcessIsRemovedByTheNext) {
  const auto living = PrivateDirectory::make("");
  ASSERT_TRUE(living);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto abandoned = PrivateDirectory::make("");
    ::raise(SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto count = [this] {
    return std::distance(fs::directory_iterator(directory_ + "/sublet"), fs::directory_iterator());
  };
  ASSERT_EQ(count(), 2);
  const auto next = PrivateDirectory::make("");
  ASSERT_TRUE(next);
  EXPECT_EQ(count(), 2);
  EXPECT_TRUE(fs::exists(living->path()));
}

TEST(SlurmTemplates, AreWholeBatchScriptsThatSayWhatTheyAreFor) {
  EXPECT_GE(slurm_templates().size(), 5U);
  for (const SlurmTemplate& each : slurm_templates()) {
    EXPECT_TRUE(each.text.starts_with("#!/bin/bash\n# ")) << each.name;
    EXPECT_NE(each.text.find("\n#SBATCH --"), std::string_view::npos) << each.name;
    EXPECT_EQ(each.text.back(), '\n') << each.name;
    EXPECT_GT(each.summary().size(), 20U) << each.name;
    EXPECT_EQ(each.summary().find('\n'), std::string_view::npos) << each.name;
    const auto found = find_slurm_template(each.name);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->text.data(), each.text.data());
  }
}

TEST(SlurmTemplates, KeepEveryByteOfTheFile) {
  const auto found = find_slurm_template("executor-manager");
  ASSERT_TRUE(found);
  std::ifstream file(SLURM_TEMPLATES "/executor-manager.sbatch");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(found->text, text);
}

TEST(SlurmTemplates, ListTheirNamesToWhoAsksForAnother) {
  const auto none = find_slurm_template("frobnicate");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::kInvalid);
  for (const char* part : {"'frobnicate'", "executor-manager", "own-executors", "spare-cores"}) {
    EXPECT_NE(std::string(none.error().what()).find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace sublet::cli
