#include <cli/config_file.hpp>
#include <client/session_option.hpp>

#include <boost/program_options.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <utility>

namespace sublet::cli {
namespace {

constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 20;
/// Words longer than any option's are not compared.
constexpr std::size_t kLongestWord = 64;

std::string without_space(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// How many characters have to be changed, added or left out.
std::size_t distance(const std::string& from, const std::string& to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t changed = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[to.size()];
}

std::vector<std::string> keys_of(const CommandLine& line) {
  std::vector<std::string> keys;
  for (const auto& option : line.options.options()) {
    if (option->long_name() != "config") keys.push_back(option->long_name());
  }
  return keys;
}

std::string meant(const std::string& nearest) {
  return nearest.empty() ? std::string() : "; did you mean '" + nearest + "'?";
}

bool is_one_of(const std::string& word, const std::vector<std::string>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string unknown_key(const ConfigFile::Entry& entry, const std::vector<std::string>& keys,
                        const std::vector<ConfigSection>& sections) {
  const std::string found = "'" + entry.key + "' is no option of [" + entry.section + "]";
  for (const ConfigSection& other : sections) {
    if (other.line.name != entry.section && is_one_of(entry.key, keys_of(other.line))) {
      return found + "; it is one of [" + other.line.name + "]";
    }
  }
  std::string underscores = entry.key;
  std::replace(underscores.begin(), underscores.end(), '_', '-');
  if (is_one_of(underscores, keys)) return found + meant(underscores);
  return found + meant(nearest_word(entry.key, keys));
}

/// What a daemon would say of these entries, each alone and then all together.
void check_values(const ConfigSection& section, const std::vector<ConfigFile::Entry>& entries,
                  std::vector<ConfigProblem>& problems) {
  std::set<std::string> told;
  const auto tell = [&](unsigned line, const std::vector<ConfigFile::Entry>& some) {
    std::vector<std::pair<std::string, std::string>> pairs;
    pairs.reserve(some.size());
    for (const ConfigFile::Entry& entry : some) pairs.emplace_back(entry.key, entry.value);
    const auto values = section_values(section.line, pairs);
    const auto texts =
        values ? section.problems(*values) : std::vector<std::string>{values.error().what()};
    const std::string where = line == 0 ? "[" + section.line.name + "]: " : "";
    for (const std::string& text : texts) {
      if (told.insert(text).second) problems.push_back({line, where + text});
    }
  };
  tell(0, {});  // the defaults, on this node
  for (const ConfigFile::Entry& entry : entries) tell(entry.line, {entry});
  tell(0, entries);
}

/// One section's entries against its options.
void check_section(const ConfigFile& file, const ConfigSection& section,
                   const std::vector<ConfigSection>& sections,
                   std::vector<ConfigProblem>& problems) {
  const auto keys = keys_of(section.line);
  std::vector<ConfigFile::Entry> good;
  std::map<std::string, unsigned> seen;
  for (const ConfigFile::Entry& entry : file.entries) {
    if (entry.section != section.line.name) continue;
    if (!is_one_of(entry.key, keys)) {
      problems.push_back({entry.line, unknown_key(entry, keys, sections)});
      continue;
    }
    const auto [earlier, first] = seen.emplace(entry.key, entry.line);
    if (!first) {
      problems.push_back({entry.line, "'" + entry.key + "' is set in line " +
                                          std::to_string(earlier->second) +
                                          " already; a list's values are separated by commas"});
      continue;
    }
    if (const auto values = section_values(section.line, {{entry.key, entry.value}}); !values) {
      problems.push_back({entry.line, values.error().what()});
      continue;
    }
    good.push_back(entry);
  }
  if (!seen.empty()) check_values(section, good, problems);
}

void sort_by_line(std::vector<ConfigProblem>& problems) {
  std::stable_sort(problems.begin(), problems.end(),
                   [](const ConfigProblem& a, const ConfigProblem& b) { return a.line < b.line; });
}

}  // namespace

std::string nearest_word(const std::string& word, const std::vector<std::string>& words) {
  std::string nearest;
  // A third of it may be wrong.
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  if (word.size() > kLongestWord) return nearest;
  for (const std::string& each : words) {
    const std::size_t away = distance(word, each);
    if (away < least) {
      least = away;
      nearest = each;
    }
  }
  return nearest;
}

Result<ConfigFile> ConfigFile::read(const std::string& path) {
  const auto cannot = [&path](const std::string& why) {
    return fail(ErrorKind::kInvalid, "configuration file '" + path + "' cannot be read: " + why);
  };
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return cannot("it is a directory");
  std::ifstream stream(path);
  if (!stream) return cannot(std::strerror(errno));
  std::string text(kMostBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > kMostBytes) return cannot("it has more than 1 MiB");
  ConfigFile file;
  file.path = path;
  std::string section;
  unsigned number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    line = without_space(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::size_t equals = line.find('=');
    if (line.front() == '[' && line.back() == ']') {
      section = line.substr(1, line.size() - 2);
      file.has_sections = true;
    } else if (equals != std::string::npos && equals > 0) {
      file.entries.push_back({number, section, without_space(line.substr(0, equals)),
                              without_space(line.substr(equals + 1))});
    } else {
      file.problems.push_back(
          {number, "'" + line + "' is no [section], option = value or # comment"});
    }
  }
  return file;
}

std::vector<ConfigProblem> check_managers_file(const ConfigFile& file,
                                               const std::vector<ConfigSection>& sections) {
  std::vector<ConfigProblem> problems = file.problems;
  std::vector<std::string> names;
  std::string listed;
  for (const ConfigSection& section : sections) {
    names.push_back(section.line.name);
    listed += (listed.empty() ? "[" : ", [") + section.line.name + "]";
  }
  std::set<std::string> told;
  for (const ConfigFile::Entry& entry : file.entries) {
    if (entry.section.empty()) {
      problems.push_back(
          {entry.line,
           "'" + entry.key + "' is set before the first section; sections are " + listed});
    } else if (!is_one_of(entry.section, names) && told.insert(entry.section).second) {
      problems.push_back({entry.line, "no command reads section [" + entry.section +
                                          "]; sections are " + listed +
                                          meant(nearest_word(entry.section, names))});
    }
  }
  for (const ConfigSection& section : sections) check_section(file, section, sections, problems);
  sort_by_line(problems);
  return problems;
}

std::vector<ConfigProblem> check_sessions_file(const ConfigFile& file) {
  std::vector<ConfigProblem> problems = file.problems;
  std::vector<std::string> names;
  for (const auto& [name, about] : client::session_options()) names.push_back(name);
  SessionOptions options;
  std::set<std::string> seen;
  for (const ConfigFile::Entry& entry : file.entries) {
    if (!entry.section.empty()) {
      problems.push_back({entry.line, "an application's file has no sections; [" + entry.section +
                                          "] belongs into the managers' (manager.conf)"});
    } else if (!client::is_session_option(entry.key)) {
      problems.push_back({entry.line, "there is no option '" + entry.key + "'" +
                                          meant(nearest_word(entry.key, names))});
    } else if (!seen.insert(entry.key).second) {
      problems.push_back({entry.line, "'" + entry.key + "' is set twice"});
    } else if (auto set = client::set_session_option(options, "the file", entry.key, entry.value);
               !set) {
      problems.push_back({entry.line, set.error().what()});
    }
  }
  sort_by_line(problems);
  return problems;
}

}  // namespace sublet::cli
