#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/manager_options.hpp>
#include <cli/output.hpp>
#include <cli/waiting.hpp>
#include <common/manager_query.hpp>
#include <common/views.hpp>
#include <resource_manager/refusal_text.hpp>

#include <boost/program_options.hpp>

#include <iostream>

namespace sublet::cli {
namespace {

CommandLine command_line() {
  CommandLine line;
  line.name = "nodes";
  line.arguments = "[OPTIONS]";
  line.about =
      "Lists the nodes that a resource manager knows: up, draining (keeps its leases, gets no new\n"
      "ones) or lost (its executor manager is gone or silent), with what is free on each.";
  add_manager_options(line);
  add_output_option(line.options);
  return line;
}

std::string to_table(const std::vector<NodeInfo>& nodes) {
  std::vector<std::vector<std::string>> rows = {
      {"NODE", "STATE", "CORES", "FREE", "MEMORY", "FREE", "CPUSET", "HEARD"}};
  for (const NodeInfo& info : nodes) {
    rows.push_back({info.name, info.state, std::to_string(info.cores),
                    std::to_string(info.free_cores), manager::bytes_text(info.memory_bytes),
                    manager::bytes_text(info.free_memory_bytes), info.cpuset,
                    std::to_string(info.heartbeat_age.count() / 1000) + " s ago"});
  }
  return format_table(rows);
}

}  // namespace

int nodes_command(const std::vector<std::string>& words) {
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
  const auto nodes = [&target] {
    const WaitingNote note(target->location.to_string());
    return manager::query_nodes(target->location, target->timeout);
  }();
  if (!nodes) {
    return complain(line.name, nodes.error().what(), exit_code(nodes.error().kind()));
  }
  if (*format == OutputFormat::kJson) {
    std::cout << manager::to_json(*nodes) << "\n";
  } else {
    std::cout << to_table(*nodes);
  }
  return kExitOk;
}

}  // namespace sublet::cli
