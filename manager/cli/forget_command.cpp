#include <base/printable_text.hpp>
#include <cli/command.hpp>
#include <cli/run_command.hpp>
#include <common/manager_query.hpp>

#include <boost/program_options.hpp>

#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine forget_command_line() {
  CommandLine line;
  line.name = "forget";
  line.arguments = "NODE [OPTIONS]";
  line.about =
      "Removes a lost node from the resource manager's list, with the leases on it. Should its\n"
      "executor manager come back after all, it registers again with the leases that it still "
      "has.\n"
      "A node that is not lost is refused: `sublet drain` gives it back. Of several nodes of that\n"
      "name those that are lost are removed.";
  line.options.add_options()("node", po::value<std::string>()->required(),
                             "name of the node; `sublet nodes` lists them");
  line.positional = "node";
  add_manager_options(line);
  return line;
}

int forget_command(const std::vector<std::string>& words) {
  return run_command(forget_command_line(), words, [](const Values& values) -> Result<void> {
    const auto& node = values["node"].as<std::string>();
    const auto forgotten = ask_manager(values, [&](const ManagerTarget& target) {
      return manager::forget_node(target.location, node, target.timeout);
    });
    if (!forgotten) return tl::unexpected<Error>(forgotten.error());
    std::cout << "forgot " << forgotten->nodes << " lost "
              << (forgotten->nodes == 1 ? "node" : "nodes") << " named " << base::printable(node)
              << ", with " << forgotten->leases << (forgotten->leases == 1 ? " lease" : " leases");
    if (forgotten->up != 0)
      std::cout << "; " << forgotten->up << " of that name is not lost and stays";
    std::cout << "\n";
    return {};
  });
}

}  // namespace sublet::cli
