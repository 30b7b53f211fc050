#include <cli/command.hpp>
#include <cli/manager_options.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/manager_query.hpp>
#include <common/views.hpp>
#include <resource_manager/refusal_text.hpp>

#include <boost/program_options.hpp>

namespace sublet::cli {

CommandLine nodes_command_line() {
  CommandLine line;
  line.name = "nodes";
  line.arguments = "[OPTIONS]";
  line.about =
      "Lists the nodes that a resource manager knows: up, draining (keeps its leases, gets no new\n"
      "ones) or lost (its executor manager is gone or silent), with what is free on each.";
  add_manager_options(line);
  add_output_option(line);
  return line;
}

namespace {

std::string to_table(const std::vector<NodeInfo>& nodes) {
  std::vector<std::vector<std::string>> rows = {{"NODE", "STATE", "CORES", "FREE", "MEMORY", "FREE",
                                                 "GPUS", "FREE", "WARM", "CPUSET", "HEARD",
                                                 "CLOCK"}};
  for (const NodeInfo& info : nodes) {
    rows.push_back({info.name, info.state, std::to_string(info.cores),
                    std::to_string(info.free_cores), manager::bytes_text(info.memory_bytes),
                    manager::bytes_text(info.free_memory_bytes), std::to_string(info.gpus.size()),
                    std::to_string(info.free_gpus), std::to_string(info.warm_executors),
                    info.cpuset, std::to_string(info.heartbeat_age.count() / 1000) + " s ago",
                    clock_text(info.clock_ahead, info.clock_error)});
  }
  return format_table(rows);
}

}  // namespace

int nodes_command(const std::vector<std::string>& words) {
  return list_command(nodes_command_line(), words, [](const Values& values) -> Result<Listing> {
    const auto reports = ask_manager(values, [](const ManagerTarget& target) {
      return manager::query_nodes(target.location, target.timeout);
    });
    if (!reports) return tl::unexpected<Error>(reports.error());
    return Listing{to_table(*reports), manager::to_json(*reports) + "\n"};
  });
}

}  // namespace sublet::cli
