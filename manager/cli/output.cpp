#include <base/printable_text.hpp>
#include <cli/output.hpp>

#include <boost/program_options.hpp>

#include <algorithm>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.-") == std::string::npos;
}

/// Characters, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width_of(const std::string& cell) {
  return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

void add_output_option(CommandLine& line) {
  line.choices["output"] = {"table", "json"};
  line.options.add_options()("output", po::value<std::string>()->default_value("table"),
                             "table, or json for programs");
}

Result<OutputFormat> output_format(const po::variables_map& values) {
  const auto& text = values["output"].as<std::string>();
  if (text == "table") return OutputFormat::kTable;
  if (text == "json") return OutputFormat::kJson;
  return fail(ErrorKind::kInvalid, "--output is '" + text + "'; it must be table or json");
}

std::string clock_text(std::chrono::milliseconds ahead, std::chrono::milliseconds error) {
  return (ahead.count() < 0 ? "" : "+") + std::to_string(ahead.count()) + " ms \u00b1" +
         std::to_string(error.count());
}

std::string format_table(std::vector<std::vector<std::string>> rows) {
  if (rows.empty()) return {};
  for (auto& row : rows) {
    for (std::string& cell : row) cell = base::printable(cell);
  }
  const std::size_t columns = rows.front().size();
  std::vector<std::size_t> widths(columns, 0);
  std::vector<bool> right(columns, rows.size() > 1);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (std::size_t i = 0; i < columns; ++i) {
      widths[i] = std::max(widths[i], width_of(rows[row][i]));
      if (row > 0 && !is_number(rows[row][i])) right[i] = false;
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < columns; ++i) {
      if (i > 0) line += "  ";
      const std::string padding(widths[i] - width_of(row[i]), ' ');
      line += right[i] ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace sublet::cli
