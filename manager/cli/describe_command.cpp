#include <base/replace_file.hpp>
#include <cli/command.hpp>
#include <cli/describe/completion.hpp>
#include <cli/describe/man_page.hpp>
#include <cli/run_command.hpp>

#include <boost/program_options.hpp>

#include <filesystem>
#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine describe_command_line() {
  CommandLine line;
  line.name = "describe";
  line.arguments = "man|bash|zsh|fish [PAGE] | --directory DIR";
  line.about =
      "Writes manual pages and completions from the options of all commands: one to standard "
      "output, or\nall of them below a directory, as they are installed in share.";
  line.options.add_options()(
      "words", po::value<std::vector<std::string>>(),
      "what to write, and of manual pages which one, for instance sublet-nodes")(
      "directory", po::value<std::string>()->default_value(""), "write all below this directory");
  line.positional = "words";
  line.choices["words"] = {"man", "bash", "zsh", "fish"};
  return line;
}

namespace {

namespace fs = std::filesystem;

Result<void> write_description(const fs::path& path, const std::string& text) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) {
    return fail(ErrorKind::kInvalid,
                "making the directory " + path.parent_path().string() + ": " + error.message());
  }
  return base::replace_file(path.string(), text, "writing");
}

Result<void> write_descriptions(const fs::path& directory) {
  for (const ManualPage& page : manual_pages()) {
    const std::string section = "man" + std::to_string(page.section);
    if (auto ok = write_description(directory / "man" / section / page.file(), page.text); !ok) {
      return ok;
    }
  }
  const std::pair<fs::path, std::string> completions[] = {
      {directory / "bash-completion" / "completions" / "sublet", bash_completion()},
      {directory / "zsh" / "site-functions" / "_sublet", zsh_completion()},
      {directory / "fish" / "vendor_completions.d" / "sublet.fish", fish_completion()}};
  for (const auto& [path, text] : completions) {
    if (auto ok = write_description(path, text); !ok) return ok;
  }
  return {};
}

Result<std::string> described(const std::vector<std::string>& words) {
  const std::string& what = words.front();
  if (what == "bash") return bash_completion();
  if (what == "zsh") return zsh_completion();
  if (what == "fish") return fish_completion();
  if (what != "man" || words.size() > 2) {
    return fail(ErrorKind::kInvalid, "'" + what +
                                         "' is nothing that is described; man, bash, zsh "
                                         "and fish are");
  }
  const std::string name = words.size() == 2 ? words[1] : "sublet";
  std::string names;
  for (const ManualPage& page : manual_pages()) {
    if (page.name == name) return page.text;
    names += " " + page.name;
  }
  return fail(ErrorKind::kInvalid, "there is no manual page '" + name + "'; there are:" + names);
}

}  // namespace

int describe_command(const std::vector<std::string>& words) {
  return run_command(describe_command_line(), words, [](const Values& values) -> Result<void> {
    const auto& directory = values["directory"].as<std::string>();
    if (!directory.empty()) return write_descriptions(directory);
    if (values.count("words") == 0) {
      return fail(ErrorKind::kInvalid, "say what to write, man, bash, zsh or fish, or --directory");
    }
    const auto text = described(values["words"].as<std::vector<std::string>>());
    if (!text) return tl::unexpected<Error>(text.error());
    std::cout << *text;
    return {};
  });
}

}  // namespace sublet::cli
