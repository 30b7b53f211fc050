#include <base/node_identity.hpp>
#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/manager_options.hpp>
#include <cli/options.hpp>
#include <cli/output.hpp>
#include <common/manager_query.hpp>
#include <transport/any/choice.hpp>
#include <transport/any/states.hpp>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <cstdlib>
#include <iostream>

namespace sublet::cli {
namespace {

CommandLine command_line() {
  CommandLine line;
  line.name = "doctor";
  line.arguments = "[OPTIONS]";
  line.about =
      "Says which transports this node can use, which one calls to an executor on this node and "
      "on\n"
      "another one would take, and why; and what of this node's set-up stands in the way of speed.";
  add_manager_options(line);
  add_output_option(line.options);
  return line;
}

/// What was looked at, and what to do about it.
struct Finding {
  bool good = true;
  std::string what;
  std::string text;
};

Finding locked_memory() {
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur == RLIM_INFINITY) return {true, "locked memory", "without limit"};
  return {false, "locked memory",
          std::to_string(limit.rlim_cur >> 10) +
              " KiB; RDMA registers the memory that calls use: raise it with 'ulimit -l unlimited' "
              "or a memlock line in /etc/security/limits.conf"};
}

Finding choice(bool same_node, const std::string& wanted) {
  const std::string what = same_node ? "calls on this node" : "calls to another node";
  const auto preference = transport::prefer(same_node, wanted);
  if (!preference) return {false, what, preference.error().what()};
  std::string kinds;
  for (const auto kind : preference->kinds)
    kinds += (kinds.empty() ? "" : ", else ") + std::string(to_string(kind));
  return {true, what, kinds + " (" + preference->reasons + ")"};
}

Finding resource_manager(const Result<ManagerTarget>& target) {
  if (!target) return {false, "resource manager", target.error().what()};
  const auto reports = manager::query_nodes(target->location, target->timeout);
  if (!reports) return {false, "resource manager", reports.error().what()};
  std::size_t up = 0;
  for (const auto& [info, age] : *reports) up += info.state == "up" ? 1 : 0;
  return {true, "resource manager",
          "answers at " + target->location.address + ", " + std::to_string(up) + " of " +
              std::to_string(reports->size()) + " nodes are up"};
}

std::vector<Finding> examine(const Result<ManagerTarget>& target) {
  std::vector<Finding> findings;
  bool locks_memory = false;
  for (const auto& state : transport::transport_states()) {
    findings.push_back({state.usable, std::string("transport ") + to_string(state.kind),
                        (state.usable ? "" : "cannot be used: ") + state.text});
    locks_memory = locks_memory || (state.locks_memory && state.usable);
  }
  const char* wanted = std::getenv("SUBLET_TRANSPORT");
  for (const bool same_node : {true, false}) {
    findings.push_back(choice(same_node, wanted == nullptr ? "" : wanted));
  }
  if (locks_memory) findings.push_back(locked_memory());
  findings.push_back(resource_manager(target));
  return findings;
}

}  // namespace

int doctor_command(const std::vector<std::string>& words) {
  const CommandLine line = command_line();
  const auto values = parse_options(line, words);
  if (!values) return complain(line.name, values.error().what(), kExitUsage);
  if (values->count("help") != 0) {
    print_help(line);
    return kExitOk;
  }
  const auto format = output_format(*values);
  if (!format) return complain(line.name, format.error().what(), kExitUsage);
  const auto findings = examine(manager_target(*values));
  if (*format == OutputFormat::kJson) {
    auto list = nlohmann::json::array();
    for (const Finding& finding : findings) {
      list.push_back({{"what", finding.what}, {"good", finding.good}, {"text", finding.text}});
    }
    std::cout << nlohmann::json{{"node", base::node_identity("").name}, {"findings", list}}.dump(2)
              << "\n";
    return kExitOk;
  }
  std::cout << "node " << base::node_identity("").name << "\n";
  for (const Finding& finding : findings) {
    std::cout << (finding.good ? "  ok    " : "  note  ") << finding.what << ": " << finding.text
              << "\n";
  }
  return kExitOk;
}

}  // namespace sublet::cli
