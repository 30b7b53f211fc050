#include "source_tree.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

namespace sublet::tidy {
namespace {

bool is_text(const std::filesystem::path& path) {
  static constexpr std::array kExtensions = {".cpp", ".hpp", ".h",  ".c",    ".cmake",
                                             ".sh",  ".md",  ".in", ".capnp"};
  static constexpr std::array kNames = {"CMakeLists.txt", "dev", "run"};
  return std::ranges::find(kExtensions, path.extension()) != kExtensions.end() ||
         std::ranges::find(kNames, path.filename()) != kNames.end();
}

std::vector<std::string> split_lines(std::istream& in) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

bool SourceFile::is_header() const {
  return path.ends_with(".hpp") || path.ends_with(".h");
}

bool SourceFile::is_cpp() const {
  return is_header() || path.ends_with(".cpp") || path.ends_with(".c");
}

std::vector<SourceFile> read_tree(const std::filesystem::path& root) {
  std::vector<SourceFile> files;
  for (auto entry = std::filesystem::recursive_directory_iterator(root);
       entry != std::filesystem::recursive_directory_iterator(); ++entry) {
    const auto name = entry->path().filename().string();
    if (entry->is_directory()) {
      const bool skipped = name == "build" || (name.starts_with('.') && name != ".ci");
      if (skipped) entry.disable_recursion_pending();
    } else if (entry->is_regular_file() && is_text(entry->path())) {
      std::ifstream in(entry->path());
      files.push_back({entry->path().lexically_relative(root).generic_string(), split_lines(in)});
    }
  }
  std::ranges::sort(files, {}, &SourceFile::path);
  return files;
}

SourceFile make_file(std::string path, std::string_view content) {
  std::istringstream in{std::string(content)};
  return {std::move(path), split_lines(in)};
}

std::string_view without_comment(std::string_view line) {
  return line.substr(0, line.find("//"));
}

std::string to_text(const std::vector<Violation>& violations) {
  std::string text;
  for (const auto& [path, line, what] : violations) {
    text += path + ":" + (line != 0 ? std::to_string(line) + ": " : " ") + what + "\n";
  }
  return text;
}

}  // namespace sublet::tidy
