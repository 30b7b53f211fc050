#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::tidy {

/// A text file of the project.
struct SourceFile {
  std::string path;  ///< Relative to the project's root, with '/'.
  std::vector<std::string> lines;

  [[nodiscard]] bool is_below(std::string_view folder) const { return path.starts_with(folder); }
  [[nodiscard]] bool is_header() const;
  [[nodiscard]] bool is_cpp() const;  ///< A C or C++ source or header.
};

/// Where a rule is broken, and how.
struct Violation {
  std::string path;
  std::size_t line = 0;  ///< From 1; 0 for the file as a whole.
  std::string text;
};

/// Every source, script, build and documentation file below `root`, without build trees and what
/// git keeps.
std::vector<SourceFile> read_tree(const std::filesystem::path& root);

/// The same from text, for tests of the rules.
SourceFile make_file(std::string path, std::string_view content);

/// A line of C++ without its comment. Good enough for code that clang-format has laid out: a "//"
/// in a string literal hides the rest of its line.
std::string_view without_comment(std::string_view line);

/// One violation a line, as compilers write errors.
std::string to_text(const std::vector<Violation>& violations);

}  // namespace sublet::tidy
