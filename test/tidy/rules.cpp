#include "rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>

namespace sublet::tidy {
namespace {

using std::string_view;

constexpr string_view kAllowed = "tidy-allow: ";
constexpr std::size_t kMaxSourceLines = 600;
constexpr std::size_t kMaxHeaderLines = 300;
constexpr std::size_t kMaxReadmeLines = 80;

/// Longer than its limit, for a reason.
constexpr std::array kMayBeLong = {
    // All of one side's hot path, to be inlined as one.
    string_view("runtime/transport/verbs/verbs_client_datapath.hpp"),
};

/// The rules' own sources name what they look for.
bool is_rule_source(const SourceFile& file) {
  return file.is_below("test/tidy/");
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

/// True when `word` stands in `text` and is not part of a longer name.
bool has_word(string_view text, string_view word) {
  for (auto at = text.find(word); at != string_view::npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    const bool starts = at == 0 || !is_word(word.front()) || !is_word(text[at - 1]);
    const bool ends = end == text.size() || !is_word(word.back()) || !is_word(text[end]);
    if (starts && ends) return true;
  }
  return false;
}

/// Calls `check(line)` with the code of every line of `file`; a text it returns is a violation.
template <class Check>
void for_each_line(const SourceFile& file, std::vector<Violation>& violations, Check&& check) {
  for (std::size_t i = 0; i < file.lines.size(); ++i) {
    if (file.lines[i].find(kAllowed) != std::string::npos) continue;
    const std::string text = check(without_comment(file.lines[i]));
    if (!text.empty()) violations.push_back({file.path, i + 1, text});
  }
}

/// UpperCamelCase: starts with a capital, letters and digits only.
bool is_camel_case(string_view name) {
  return !name.empty() && std::isupper(static_cast<unsigned char>(name.front())) != 0 &&
         std::ranges::all_of(
             name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; });
}

string_view trim(string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

/// Calls of the system's sleeps. channel.sleep() is a method of ours, not the system call.
bool sleeps_in_cpp(string_view line) {
  static constexpr std::array kCalls = {
      string_view("sleep_for("),       string_view("sleep_until("),
      string_view("usleep("),          string_view("nanosleep("),
      string_view("sleep("),           string_view("poll(nullptr, 0,"),
      string_view("clock_nanosleep("), string_view("select(0, nullptr, nullptr, nullptr,")};
  for (const auto& call : kCalls) {
    for (auto at = line.find(call); at != string_view::npos; at = line.find(call, at + 1)) {
      if (at == 0) return true;
      const char before = line[at - 1];
      if (!is_word(before) && before != '.' && before != '>') return true;
    }
  }
  return false;
}

/// The commands sleep and usleep with a time, or with a variable that holds one.
bool sleeps_in_script(string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '#' && (i == 0 || line[i - 1] == ' ')) line = line.substr(0, i);
  }
  for (auto at = line.find("sleep "); at != string_view::npos; at = line.find("sleep ", at + 1)) {
    const auto start = at > 0 && line[at - 1] == 'u' ? at - 1 : at;
    if (start > 0 && (is_word(line[start - 1]) || line[start - 1] == '-' || line[start - 1] == '.'))
      continue;
    const auto argument = trim(line.substr(at + 6));
    if (argument.starts_with("inf")) return true;
    if (argument.find_first_of("0123456789.$\"'") == 0) return true;
  }
  return false;
}

/// The statement that starts on line `first` of the file: lines until its brackets are closed and a
/// line ends it, joined.
std::string statement_at(const SourceFile& file, std::size_t first) {
  constexpr std::size_t kMaxLines = 12;
  std::string statement;
  int open = 0;
  for (std::size_t i = first; i < file.lines.size() && i < first + kMaxLines; ++i) {
    const bool allowed = file.lines[i].find(kAllowed) != std::string::npos;
    const auto line = allowed ? string_view(file.lines[i]) : without_comment(file.lines[i]);
    statement += trim(line);
    statement += ' ';
    open += static_cast<int>(std::ranges::count(line, '(') - std::ranges::count(line, ')'));
    const auto end = trim(without_comment(file.lines[i]));
    if (open <= 0 && (end.empty() || string_view(";{}").find(end.back()) != string_view::npos)) {
      break;
    }
  }
  return statement;
}

/// Variables of one function that hold readings of a clock, and differences of them.
struct ClockNames {
  static bool reads_clock(string_view text) {
    return text.find("::now()") != string_view::npos || has_word(text, "ticks()");
  }

  void learn(string_view statement) {
    const auto equals = statement.find(" = ");
    if (equals == string_view::npos) return;
    const auto name = statement.substr(0, equals);
    const auto value = statement.substr(equals + 3);
    if (!reads_clock(value) || name.find('(') != string_view::npos) return;
    // A deadline is compared with the clock, and the difference of two of them is no elapsed time.
    if (value.find("() + ") != string_view::npos) return;
    auto& kind = value.find("() - ") != string_view::npos ? durations : readings;
    kind.emplace(name.substr(name.find_last_of(" .>*&") + 1));
  }

  /// True when `text` contains elapsed time, by what is known.
  [[nodiscard]] bool is_elapsed_time(string_view text) const {
    if (reads_clock(text)) return true;
    return std::ranges::any_of(durations, [&](const auto& name) { return has_word(text, name); }) ||
           std::ranges::any_of(readings,
                               [&](const auto& name) { return has_word(text, name + " - "); });
  }

  std::set<std::string> readings;
  std::set<std::string> durations;
};

/// True for an assertion that elapsed time stays below something.
bool bounds_elapsed_time(string_view statement, const ClockNames& names) {
  if (!statement.starts_with("EXPECT_") && !statement.starts_with("ASSERT_")) return false;
  const auto open = statement.find('(');
  if (open == string_view::npos) return false;
  const auto macro = statement.substr(7, open - 7);
  // The comma between the two arguments, and the end of the second.
  std::size_t comma = string_view::npos;
  std::size_t end = open;
  for (int depth = 0; end < statement.size(); ++end) {
    const char c = statement[end];
    if (c == '(' || c == '{') ++depth;
    if ((c == ')' || c == '}') && --depth == 0) break;
    if (c == ',' && depth == 1 && comma == string_view::npos) comma = end;
  }
  const auto arguments = statement.substr(open + 1, end - open - 1);
  if (macro == "TRUE" || macro == "FALSE") {
    const bool compares =
        arguments.find(" < ") != string_view::npos || arguments.find(" <= ") != string_view::npos ||
        arguments.find(" > ") != string_view::npos || arguments.find(" >= ") != string_view::npos;
    return compares && arguments.find('{') == string_view::npos && names.is_elapsed_time(arguments);
  }
  if (comma == string_view::npos) return false;
  if (macro == "LT" || macro == "LE" || macro == "NEAR") {
    return names.is_elapsed_time(statement.substr(open + 1, comma - open - 1));
  }
  if (macro == "GT" || macro == "GE") {
    return names.is_elapsed_time(statement.substr(comma + 1, end - comma - 1));
  }
  return false;
}

/// The package names in the list of ./dev: lines "GROUP PACKAGE REASON".
std::set<std::string> packages_of_dev(const SourceFile& dev) {
  std::set<std::string> packages;
  for (const auto& line : dev.lines) {
    for (const string_view group : {"build ", "fuzz  ", "lint  ", "rdma  ", "slurm ", "web   "}) {
      if (!line.starts_with(group)) continue;
      const auto name = string_view(line).substr(6);
      packages.emplace(name.substr(0, name.find(' ')));
    }
  }
  return packages;
}

/// The package names in the tables of the document: rows that start with | `PACKAGE` |.
std::set<std::string> packages_of_document(const SourceFile& document) {
  std::set<std::string> packages;
  for (const auto& line : document.lines) {
    if (!line.starts_with("| `")) continue;
    packages.insert(line.substr(3, line.find('`', 3) - 3));
  }
  return packages;
}

const SourceFile* find(const std::vector<SourceFile>& files, string_view path) {
  const auto found = std::ranges::find(files, path, &SourceFile::path);
  return found == files.end() ? nullptr : &*found;
}

}  // namespace

std::vector<Violation> check_language(const std::vector<SourceFile>& files) {
  static constexpr std::array kMissing = {
      string_view("std::views"), string_view("std::ranges::views"),
      string_view("<source_location>"), string_view("<format>"), string_view("std::format")};
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (!file.is_cpp() || is_rule_source(file)) continue;
    for_each_line(file, violations, [](string_view line) -> std::string {
      for (const auto& name : kMissing) {
        if (has_word(line, name)) return std::string(name) + " is not in g++ 12 and clang 14 both";
      }
      return {};
    });
  }
  return violations;
}

std::vector<Violation> check_no_sleeps(const std::vector<SourceFile>& files) {
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (is_rule_source(file) || !(file.is_below("test/") || file.is_below("examples/"))) continue;
    const bool script = file.path.ends_with(".sh") || file.path.ends_with("CMakeLists.txt");
    if (!file.is_cpp() && !script) continue;
    for_each_line(file, violations, [&](string_view line) -> std::string {
      const bool sleeps = script ? sleeps_in_script(line) : sleeps_in_cpp(line);
      return sleeps ? "a sleep in a test: wait for the event itself" : "";
    });
  }
  return violations;
}

std::vector<Violation> check_no_elapsed_time(const std::vector<SourceFile>& files) {
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (!file.is_below("test/") || !file.is_cpp() || is_rule_source(file)) continue;
    ClockNames names;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      if (file.lines[i].starts_with("}")) names = {};  // a function's end
      const std::string statement = statement_at(file, i);
      names.learn(statement);
      if (statement.find(kAllowed) == std::string::npos && bounds_elapsed_time(statement, names)) {
        violations.push_back({file.path, i + 1,
                              "an assertion on elapsed time: a busy machine takes longer; bound "
                              "events, or compare in `sublet bench`"});
      }
    }
  }
  return violations;
}

std::vector<Violation> check_test_names(const std::vector<SourceFile>& files) {
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (!file.is_below("test/") || !file.path.ends_with(".cpp")) continue;
    for_each_line(file, violations, [&](string_view line) -> std::string {
      for (const string_view macro :
           {"TEST(", "TEST_F(", "TEST_P(", "TYPED_TEST(", "TYPED_TEST_P("}) {
        if (!line.starts_with(macro)) continue;
        if (!file.path.ends_with("_test.cpp")) return "tests belong into a file named *_test.cpp";
        const auto arguments = line.substr(macro.size());
        const auto comma = arguments.find(',');
        // A long name stands on the next line: only the subject is here.
        if (comma == string_view::npos) return "";
        const auto subject = trim(arguments.substr(0, comma));
        auto name = trim(arguments.substr(comma + 1));
        name = name.substr(0, name.find(')'));
        if (!is_camel_case(subject) || (!name.empty() && !is_camel_case(name))) {
          return "a test is named TEST(Subject, DoesWhatWhenCondition)";
        }
      }
      return {};
    });
  }
  return violations;
}

std::vector<Violation> check_test_declarations(const std::vector<SourceFile>& files) {
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (!file.path.ends_with("CMakeLists.txt")) continue;
    const auto calls = [&](string_view command) {
      return std::ranges::any_of(file.lines,
                                 [&](const auto& line) { return has_word(line, command); });
    };
    if (calls("gtest_discover_tests(")) {
      violations.push_back({file.path, 0, "tests are declared by sublet_test()"});
    }
    if (calls("add_test(") && !(calls("TIMEOUT") && calls("LABELS"))) {
      violations.push_back({file.path, 0, "add_test() without a TIMEOUT and LABELS"});
    }
  }
  return violations;
}

std::vector<Violation> check_public_headers(const std::vector<SourceFile>& files) {
  static const std::map<string_view, std::set<string_view>> kLibraries = {
      {"tl/expected.hpp", {"runtime/include/sublet/result.hpp"}},
      {"mpi.h",
       {"mpi_bindings/include/sublet/mpi.hpp", "mpi_bindings/include/sublet/mpi_call.hpp",
        "mpi_bindings/include/sublet_mpi.h"}}};
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (!file.is_header()) continue;
    if (!file.is_below("runtime/include/") && !file.is_below("mpi_bindings/include/")) continue;
    for_each_line(file, violations, [&](string_view line) -> std::string {
      if (!line.starts_with("#include ")) return {};
      const auto name = line.substr(10, line.find_first_of(">\"", 10) - 10);
      if (name.starts_with("sublet/") || name == "sublet.h") return {};
      if (const auto library = kLibraries.find(name); library != kLibraries.end()) {
        return library->second.contains(file.path)
                   ? ""
                   : "only " + std::string(*library->second.begin()) + " includes it";
      }
      const bool standard = name == "stdint.h" || name == "stddef.h" || name == "cxxabi.h" ||
                            name.find_first_of("/.") == string_view::npos;
      return standard ? "" : "a public header includes what is not installed with it";
    });
  }
  return violations;
}

std::vector<Violation> check_handlers(const std::vector<SourceFile>& files) {
  std::vector<Violation> violations;
  for (const SourceFile& file : files) {
    if (is_rule_source(file)) continue;
    for_each_line(file, violations, [](string_view line) -> std::string {
      for (const auto call : {string_view("catch_("), string_view("eagerlyEvaluate(")}) {
        const auto at = line.find(call);
        if (at == string_view::npos) continue;
        const auto start = at + call.size();
        auto end = start;
        while (end < line.size() && is_word(line[end])) ++end;
        const auto name = line.substr(start, end - start);
        if (!name.empty() && name != "nullptr" && end < line.size() && line[end] == ')') {
          return "keeps a reference to '" + std::string(name) + "'; make the handler in place";
        }
      }
      return {};
    });
  }
  return violations;
}

std::vector<Violation> check_no_marks(const std::vector<SourceFile>& files) {
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (is_rule_source(file)) continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      if (has_word(file.lines[i], "TODO") || has_word(file.lines[i], "FIXME")) {
        violations.push_back({file.path, i + 1, "a mark of unfinished work"});
      }
    }
  }
  return violations;
}

std::vector<Violation> check_readmes(const std::vector<SourceFile>& files) {
  std::set<std::string> folders;
  for (const auto& file : files) {
    const auto slash = file.path.find('/');
    if (slash != std::string::npos && file.path.front() != '.') {
      folders.insert(file.path.substr(0, slash));
    }
  }
  folders.erase("cmake");  // Each of its files says what it is for.
  std::vector<Violation> violations;
  for (const auto& folder : folders) {
    const std::string path = folder + "/README.md";
    const auto* readme = find(files, path);
    if (readme == nullptr) {
      violations.push_back({path, 0, "is missing: what is this folder for?"});
    } else if (readme->lines.size() > kMaxReadmeLines) {
      violations.push_back({path, 0, "is longer than a page: docs/ is the place for more"});
    }
  }
  return violations;
}

std::vector<Violation> check_packages(const std::vector<SourceFile>& files) {
  const auto* dev = find(files, "dev");
  const auto* document = find(files, "docs/dependencies.md");
  if (dev == nullptr || document == nullptr) {
    return {{"docs/dependencies.md", 0, "it or ./dev is missing"}};
  }
  const auto installed = packages_of_dev(*dev);
  const auto explained = packages_of_document(*document);
  std::vector<Violation> violations;
  if (installed.empty()) violations.push_back({dev->path, 0, "has no list of packages"});
  for (const auto& package : installed) {
    if (!explained.contains(package)) {
      violations.push_back({document->path, 0, "does not explain " + package});
    }
  }
  for (const auto& package : explained) {
    if (!installed.contains(package)) {
      violations.push_back({dev->path, 0, "does not install " + package});
    }
  }
  return violations;
}

std::vector<Violation> check_lengths(const std::vector<SourceFile>& files) {
  std::vector<Violation> violations;
  for (const auto& file : files) {
    if (!file.is_cpp() || std::ranges::find(kMayBeLong, file.path) != kMayBeLong.end()) continue;
    const auto limit = file.is_header() ? kMaxHeaderLines : kMaxSourceLines;
    if (file.lines.size() > limit) {
      violations.push_back({file.path, 0,
                            "has " + std::to_string(file.lines.size()) + " lines, more than " +
                                std::to_string(limit) + ": is it one noun?"});
    }
  }
  return violations;
}

}  // namespace sublet::tidy
