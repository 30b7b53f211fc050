#include <cli/command.hpp>
#include <cli/manager_options.hpp>
#include <cli/run_command.hpp>
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
  line.options.add_options()("node", po::value<std::string>()->required(),
                             "name of the node; `sublet nodes` lists them")(
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
  return run_command(command_line(), words, [](const Values& values) -> Result<void> {
    const auto time = parse_duration(values["time"].as<std::string>());
    if (!time) return fail(ErrorKind::kInvalid, "--time: " + std::string(time.error().what()));
    const auto& node = values["node"].as<std::string>();
    const auto drained = ask_manager(values, [&](const ManagerTarget& target) {
      return manager::order_drain(target.location, node, *time, values["reason"].as<std::string>(),
                                  target.timeout);
    });
    if (!drained) return tl::unexpected<Error>(drained.error());
    std::cout << "node " << node << " drains; its leases end within " << time->count() << " ms\n";
    return {};
  });
}

}  // namespace sublet::cli
