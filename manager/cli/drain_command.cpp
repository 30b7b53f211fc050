#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/manager_options.hpp>
#include <cli/waiting.hpp>
#include <common/manager_query.hpp>
#include <wire/limits.hpp>

#include <boost/program_options.hpp>

#include <iostream>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

CommandLine command_line() {
  CommandLine line;
  line.name = "drain";
  line.arguments = "NODE [OPTIONS]";
  line.about =
      "Gives a node back, as SIGTERM to its executor manager does: it gets no new leases, clients\n"
      "are told how much time is left, calls under way end, and once its leases have ended its\n"
      "executor manager leaves and ends. Returns when the node has been told; `sublet nodes` "
      "shows\n"
      "it as draining until it has left.";
  line.options.add_options()("node", po::value<std::string>(), "name of the node")(
      "time", po::value<std::string>()->default_value("5s"),
      "its leases end at the latest after this time, for instance 500ms, 30s or 5min")(
      "reason", po::value<std::string>()->default_value("the node is being given back"),
      "what its clients are told");
  line.positional = "node";
  add_manager_options(line);
  return line;
}

}  // namespace

int drain_command(const std::vector<std::string>& words) {
  const CommandLine line = command_line();
  const auto values = parse_options(line, words);
  if (!values) return complain(line.name, values.error().what(), kExitUsage);
  if (values->count("help") != 0) {
    print_help(line);
    return kExitOk;
  }
  if (values->count("node") == 0) {
    return complain(line.name, "name the node to drain; `sublet nodes` lists them", kExitUsage);
  }
  const auto time = parse_duration((*values)["time"].as<std::string>());
  if (!time) return complain(line.name, "--time: " + std::string(time.error().what()), kExitUsage);
  const auto target = manager_target(*values);
  if (!target) {
    return complain(line.name, target.error().what(), exit_code(target.error().kind()));
  }
  const auto node = (*values)["node"].as<std::string>();
  const auto drained = [&] {
    const WaitingNote note(target->location.to_string());
    return manager::order_drain(target->location, node, *time,
                                (*values)["reason"].as<std::string>(), target->timeout);
  }();
  if (!drained) {
    return complain(line.name, drained.error().what(), exit_code(drained.error().kind()));
  }
  std::cout << "node " << node << " drains; its leases end within " << time->count() << " ms\n";
  return kExitOk;
}

}  // namespace sublet::cli
