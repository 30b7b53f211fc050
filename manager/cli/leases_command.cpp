#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/manager_options.hpp>
#include <cli/output.hpp>
#include <cli/waiting.hpp>
#include <common/manager_query.hpp>
#include <common/views.hpp>

#include <boost/program_options.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <iostream>

namespace sublet::cli {
namespace {

CommandLine command_line() {
  CommandLine line;
  line.name = "leases";
  line.arguments = "[OPTIONS]";
  line.about =
      "Lists the leases that a resource manager knows: granted (not claimed yet), active, ending,\n"
      "and with --all those that have ended, with what each has used so far.";
  line.options.add_options()("all", "ended leases too, as many as the manager remembers");
  add_manager_options(line);
  add_output_option(line.options);
  return line;
}

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamed, names.size()); ++i) {
    text += (i == 0 ? "" : ",") + names[i];
  }
  if (names.size() > kNamed) text += ",+" + std::to_string(names.size() - kNamed);
  return text;
}

std::string to_table(const std::vector<LeaseInfo>& infos) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  std::vector<std::vector<std::string>> rows = {
      {"LEASE", "STATE", "OWNER", "CORES", "NODES", "LEFT", "CALLS", "COMPUTE s", "CORE-S"}};
  for (const LeaseInfo& info : infos) {
    const std::int64_t left = std::max<std::int64_t>(0, info.expires_unix_ms - now.count()) / 1000;
    rows.push_back({std::to_string(info.id), info.state, info.owner, std::to_string(info.cores),
                    joined(info.nodes), info.state == "ended" ? "-" : std::to_string(left) + " s",
                    std::to_string(info.usage.invocations),
                    fixed(static_cast<double>(info.usage.compute_ns) * 1e-9, 3),
                    fixed(info.usage.core_seconds, 1)});
  }
  return format_table(rows);
}

}  // namespace

int leases_command(const std::vector<std::string>& words) {
  const CommandLine line = command_line();
  const auto values = parse_options(line, words);
  if (!values) return complain(line.name, values.error().what(), kExitUsage);
  if (values->count("help") != 0) {
    print_help(line);
    return kExitOk;
  }
  const auto format = output_format(*values);
  if (!format) return complain(line.name, format.error().what(), kExitUsage);
  const auto target = manager_target(*values);
  if (!target) {
    return complain(line.name, target.error().what(), exit_code(target.error().kind()));
  }
  const bool all = values->count("all") != 0;
  const auto leases = [&target, all] {
    const WaitingNote note(target->location.to_string());
    return manager::query_leases(target->location, all, target->timeout);
  }();
  if (!leases) return complain(line.name, leases.error().what(), exit_code(leases.error().kind()));
  if (*format == OutputFormat::kJson) {
    std::cout << manager::to_json(*leases) << "\n";
  } else {
    std::cout << to_table(*leases);
  }
  return kExitOk;
}

}  // namespace sublet::cli
