#include <base/printable_text.hpp>
#include <cli/doctor/finding.hpp>
#include <cli/exit_codes.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace sublet::cli {
namespace {

Grade worst_of(const Findings& findings) {
  Grade worst = Grade::kOk;
  for (const Finding& finding : findings) worst = std::max(worst, finding.grade);
  return worst;
}

/// All of it but the name, in one sentence.
std::string sentence(const Finding& finding) {
  std::string text = finding.found;
  if (!finding.wanted.empty()) text += "; wanted: " + finding.wanted;
  if (!finding.advice.empty()) text += "; to do: " + finding.advice;
  return text;
}

}  // namespace

const char* to_string(Grade grade) {
  switch (grade) {
    case Grade::kOk:
      return "ok";
    case Grade::kAbsent:
      return "absent";
    case Grade::kNote:
      return "note";
    case Grade::kFault:
      return "fault";
  }
  return "?";
}

int exit_code(const Findings& findings) {
  switch (worst_of(findings)) {
    case Grade::kOk:
    case Grade::kAbsent:
      return kExitOk;
    case Grade::kNote:
      return kExitNote;
    case Grade::kFault:
      return kExitFault;
  }
  return kExitFault;
}

std::string to_table(const std::string& node, const Findings& findings) {
  constexpr std::size_t kWidth = 8;
  std::string text = "node " + base::printable(node) + "\n";
  for (const Finding& finding : findings) {
    std::string mark = finding.grade == Grade::kAbsent ? "-" : to_string(finding.grade);
    mark.resize(kWidth - 2, ' ');
    text += "  " + mark + base::printable(finding.what + ": " + sentence(finding)) + "\n";
  }
  return text;
}

std::string to_json(const std::string& node, const Findings& findings) {
  auto list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"what", finding.what},
                    {"grade", to_string(finding.grade)},
                    {"good", finding.grade == Grade::kOk},
                    {"found", finding.found},
                    {"wanted", finding.wanted},
                    {"advice", finding.advice},
                    {"text", sentence(finding)}});
  }
  const nlohmann::json all = {
      {"node", node}, {"worst", to_string(worst_of(findings))}, {"findings", list}};
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace sublet::cli
