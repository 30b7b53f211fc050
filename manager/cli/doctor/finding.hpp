#pragma once

#include <string>
#include <vector>

namespace sublet::cli {

/// How far something is from what Sublet wants, from the best to the worst.
enum class Grade {
  kOk,
  kAbsent,  ///< Is not there, and need not be.
  kNote,    ///< Works without, but slower, or for less.
  kFault,   ///< What needs it fails.
};

/// "ok", "absent", "note", "fault".
[[nodiscard]] const char* to_string(Grade grade);

/// One line of `sublet doctor`: what was looked at, what was found there, what is wanted, and what
/// to do about it. The last two are empty where all is well, and may be where nothing can be done.
struct Finding {
  Grade grade = Grade::kOk;
  std::string what;
  std::string found;
  std::string wanted{};
  std::string advice{};
};

using Findings = std::vector<Finding>;

/// The exit code that says the worst of them.
[[nodiscard]] int exit_code(const Findings& findings);

/// A line for each, whatever their texts hold: from files, peers and other programs.
[[nodiscard]] std::string to_table(const std::string& node, const Findings& findings);

/// {"node", "worst", "findings": [{"what", "grade", "good", "found", "wanted", "advice", "text"}]}.
[[nodiscard]] std::string to_json(const std::string& node, const Findings& findings);

}  // namespace sublet::cli
