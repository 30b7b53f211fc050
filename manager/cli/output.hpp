#pragma once

#include <cli/options.hpp>
#include <sublet/result.hpp>

#include <boost/program_options/variables_map.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace sublet::cli {

enum class OutputFormat { kTable, kJson };

/// Adds --output to a command that lists something.
void add_output_option(CommandLine& line);
Result<OutputFormat> output_format(const boost::program_options::variables_map& values);

/// "+3 ms ±1": how far a clock is ahead, and how wrong that may be.
std::string clock_text(std::chrono::milliseconds ahead, std::chrono::milliseconds error);

/// Columns as wide as their longest cell; the first row is the heading. Numbers align right. What a
/// terminal would take for a command is not printed.
std::string format_table(std::vector<std::vector<std::string>> rows);

}  // namespace sublet::cli
