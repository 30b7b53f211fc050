#include <base/printable_text.hpp>
#include <cli/ledger_text.hpp>
#include <cli/output.hpp>
#include <common/auth/caller.hpp>
#include <common/ledger_views.hpp>

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <limits>
#include <vector>

namespace sublet::cli {
namespace {

using wire::LedgerGrouping;
using wire::LedgerRow;

std::string fixed_point(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

/// Of the local time zone; "-" for none.
std::string time_text(std::int64_t unix_ms) {
  if (unix_ms == 0) return "-";
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  std::array<char, 32> text{};
  ::localtime_r(&seconds, &parts);
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  return {text.data(), size};
}

/// "1.234" from milliseconds: no digit is rounded away.
std::string seconds_of(std::uint64_t ms) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%llu.%03u", static_cast<unsigned long long>(ms / 1000),
                static_cast<unsigned>(ms % 1000));
  return text.data();
}

std::string seconds_of_ns(std::uint64_t ns) {
  return fixed_point(static_cast<double>(ns) * 1e-9, 3);
}

std::string uid_text(std::uint32_t uid) {
  return uid == manager::kUnknownUid ? "-" : std::to_string(uid);
}

std::string or_dash(const std::string& text) {
  return text.empty() ? "-" : text;
}

/// What a row is of, in the order of the columns: names for programs, and the text.
std::vector<std::pair<const char*, std::string>> subject(LedgerGrouping grouping,
                                                         const LedgerRow& row) {
  const std::string job = row.job == 0 ? "" : std::to_string(row.job);
  switch (grouping) {
    case LedgerGrouping::USERS:
      return {{"user", row.user}, {"uid", uid_text(row.uid)}};
    case LedgerGrouping::JOBS:
      return {{"job", job}, {"user", row.user}};
    case LedgerGrouping::LEASES:
      return {{"lease", std::to_string(row.lease_id)}, {"user", row.user}, {"job", job}};
    case LedgerGrouping::NODES:
      return {{"node", row.node}};
    case LedgerGrouping::GRANTS:
      break;
  }
  return {{"lease", std::to_string(row.lease_id)},
          {"part", std::to_string(row.part)},
          {"user", row.user},
          {"job", job},
          {"node", row.node},
          {"cores", std::to_string(row.cores)},
          {"gpus", std::to_string(row.gpus)}};
}

std::string capitals(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

void add_sums(std::vector<std::string>& cells, const LedgerRow& row) {
  constexpr double kGibHour = 1073741824.0 * 3600;
  cells.push_back(seconds_of(row.core_ms));
  cells.push_back(seconds_of(row.gpu_ms));
  cells.push_back(seconds_of_ns(row.usage.hot_poll_ns));
  cells.push_back(seconds_of_ns(row.usage.compute_ns));
  cells.push_back(fixed_point(row.memory_byte_seconds / kGibHour, 3));
  cells.push_back(std::to_string(row.usage.invocations));
  cells.push_back(std::to_string(row.usage.bytes_in));
  cells.push_back(std::to_string(row.usage.bytes_out));
  cells.push_back(fixed_point(row.cost, 4));
}

/// How one grant, or the last of several, ended.
std::string end_text(LedgerGrouping grouping, const LedgerRow& row) {
  if (grouping != LedgerGrouping::GRANTS) {
    std::string text = row.open > 0 ? std::to_string(row.open) + " open" : "";
    if (row.unsure > 0) text += (text.empty() ? "" : ", ") + std::to_string(row.unsure) + " unsure";
    return or_dash(text);
  }
  if (row.open > 0) return "open";
  if (row.reason.empty()) return row.end;
  return row.end + ": " + row.reason;
}

/// As RFC 4180 quotes it; a text that a spreadsheet would take for a formula is made one it does
/// not.
std::string csv_cell(const std::string& text) {
  std::string shown = base::printable(text);
  if (!shown.empty() && std::string("=+-@").find(shown[0]) != std::string::npos)
    shown = "'" + shown;
  if (shown.find_first_of(",\"\n\r'") == std::string::npos) return shown;
  std::string quoted = "\"";
  for (const char c : shown) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

Result<std::int64_t> parse_time(const std::string& text) {
  if (text.starts_with('@')) {
    std::int64_t seconds = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 1, end, seconds);
    constexpr std::int64_t kFar = std::int64_t{1} << 40;
    if (error == std::errc() && stop == end && seconds > 0 && seconds < kFar) return seconds * 1000;
  }
  for (const char* const form : {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"}) {
    std::tm parts{};
    parts.tm_isdst = -1;
    const char* const end = ::strptime(text.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    const std::time_t seconds = ::mktime(&parts);
    if (seconds > 0) return std::int64_t{seconds} * 1000;
  }
  return fail(ErrorKind::kInvalid, "'" + text +
                                       "' is no time; write 2026-12-01, 2026-12-01T14:30, "
                                       "2026-12-01T14:30:05 (local time), or @ and Unix seconds");
}

std::string ledger_table(LedgerGrouping grouping, std::span<const LedgerRow> rows) {
  std::vector<std::vector<std::string>> cells(1);
  const auto add_row = [&](const LedgerRow& row, bool is_sum) {
    std::vector<std::string> line;
    bool first = true;
    for (const auto& [name, text] : subject(grouping, row)) {
      line.push_back(!is_sum ? or_dash(text) : first ? "total" : "");
      first = false;
    }
    if (grouping == LedgerGrouping::GRANTS) {
      line.push_back(is_sum ? "" : time_text(row.begin_unix_ms));
      line.push_back(is_sum ? "" : time_text(row.end_unix_ms));
    } else {
      line.push_back(std::to_string(row.grants));
    }
    add_sums(line, row);
    line.push_back(is_sum && grouping == LedgerGrouping::GRANTS ? "" : end_text(grouping, row));
    cells.push_back(std::move(line));
  };
  for (const auto& [name, text] : subject(grouping, LedgerRow{})) {
    cells[0].push_back(capitals(name));
  }
  if (grouping == LedgerGrouping::GRANTS) {
    cells[0].insert(cells[0].end(), {"BEGIN", "END"});
  } else {
    cells[0].emplace_back("GRANTS");
  }
  cells[0].insert(cells[0].end(), {"CORE-S", "GPU-S", "POLL s", "COMPUTE s", "GIB-H", "CALLS",
                                   "BYTES IN", "BYTES OUT", "COST", "ENDED"});
  for (const LedgerRow& row : rows) add_row(row, false);
  if (rows.size() > 1) add_row(manager::ledger_sum(rows), true);
  return format_table(std::move(cells));
}

std::string ledger_csv(LedgerGrouping grouping, std::span<const LedgerRow> rows) {
  const bool one = grouping == LedgerGrouping::GRANTS;
  std::string text;
  for (const auto& [name, unused] : subject(grouping, LedgerRow{})) text += std::string(name) + ",";
  if (one) text += "memory_bytes,";
  text +=
      "grants,open,unsure,begin_unix_ms,end_unix_ms,core_ms,hot_poll_ns,compute_ns,"
      "memory_byte_seconds,invocations,bytes_in,bytes_out,gpu_ms,cost";
  text += one ? ",ended,reason\r\n" : "\r\n";
  for (const LedgerRow& row : rows) {
    for (const auto& [name, cell] : subject(grouping, row)) text += csv_cell(cell) + ",";
    if (one) text += std::to_string(row.memory_bytes) + ",";
    for (const std::uint64_t number : {row.grants, row.open, row.unsure}) {
      text += std::to_string(number) + ",";
    }
    text += std::to_string(row.begin_unix_ms) + ",";
    text += (row.end_unix_ms == 0 ? "" : std::to_string(row.end_unix_ms)) + ",";
    for (const std::uint64_t number : {row.core_ms, row.usage.hot_poll_ns, row.usage.compute_ns}) {
      text += std::to_string(number) + ",";
    }
    text += fixed_point(row.memory_byte_seconds, 0) + ",";
    for (const std::uint64_t number :
         {row.usage.invocations, row.usage.bytes_in, row.usage.bytes_out, row.gpu_ms}) {
      text += std::to_string(number) + ",";
    }
    text += fixed_point(row.cost, 6);
    if (one) text += "," + csv_cell(row.end) + "," + csv_cell(row.reason);
    text += "\r\n";
  }
  return text;
}

}  // namespace sublet::cli
