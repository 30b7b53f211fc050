#include <cli/command.hpp>
#include <cli/manager_options.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/manager_query.hpp>
#include <common/views.hpp>

#include <boost/program_options.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

namespace sublet::cli {

CommandLine leases_command_line() {
  CommandLine line;
  line.name = "leases";
  line.arguments = "[OPTIONS]";
  line.about =
      "Lists the leases that a resource manager knows: waiting for cores, reserved (its nodes are\n"
      "being told), granted (not claimed yet), active, ending, and with --all those that have "
      "ended,\n"
      "with what each has used so far, and why it ended.";
  line.options.add_options()("all", "ended leases too, as many as the manager remembers");
  add_manager_options(line);
  add_output_option(line);
  return line;
}

namespace {

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

std::string why_text(const LeaseInfo& info) {
  if (info.state != "waiting") return info.reason.empty() ? "-" : info.reason;
  return "number " + std::to_string(info.place) + " of those that wait, for " +
         std::to_string(info.waited.count() / 1000) + " s";
}

std::string to_table(const std::vector<LeaseInfo>& infos) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  std::vector<std::vector<std::string>> rows = {{"LEASE", "STATE", "OWNER", "CORES", "GPUS",
                                                 "NODES", "LEFT", "CALLS", "COMPUTE s", "CORE-S",
                                                 "PRIORITY", "WHY"}};
  for (const LeaseInfo& info : infos) {
    const std::int64_t left = std::max<std::int64_t>(0, info.expires_unix_ms - now.count()) / 1000;
    rows.push_back({std::to_string(info.id), info.state, info.owner, std::to_string(info.cores),
                    std::to_string(info.gpus), joined(info.nodes),
                    info.state == "ended" ? "-" : std::to_string(left) + " s",
                    std::to_string(info.usage.invocations),
                    fixed(static_cast<double>(info.usage.compute_ns) * 1e-9, 3),
                    fixed(info.usage.core_seconds, 1), std::to_string(info.priority),
                    why_text(info)});
  }
  return format_table(rows);
}

}  // namespace

int leases_command(const std::vector<std::string>& words) {
  return list_command(leases_command_line(), words, [](const Values& values) -> Result<Listing> {
    const auto leases = ask_manager(values, [&values](const ManagerTarget& target) {
      return manager::query_leases(target.location, values.count("all") != 0, target.timeout);
    });
    if (!leases) return tl::unexpected<Error>(leases.error());
    return Listing{to_table(*leases), manager::to_json(*leases) + "\n"};
  });
}

}  // namespace sublet::cli
