#include <base/node_identity.hpp>
#include <cli/command.hpp>
#include <cli/manager_options.hpp>
#include <cli/mpi_paths.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/manager_query.hpp>
#include <resource_manager/refusal_text.hpp>
#include <transport/any/choice.hpp>
#include <transport/any/states.hpp>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace sublet::cli {
namespace {

CommandLine doctor_command_line() {
  CommandLine line;
  line.name = "doctor";
  line.arguments = "[OPTIONS]";
  line.about =
      "Says which transports this node can use, which one calls to an executor on this node and "
      "on\n"
      "another one would take, and why; how calls that are MPI requests are completed, for each "
      "MPI\n"
      "that Sublet is built for; and what of this node's set-up stands in the way of speed.";
  add_manager_options(line);
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

/// What it says, or why there are no nodes.
Finding resource_manager(const Result<ManagerTarget>& target, std::vector<NodeInfo>& nodes) {
  if (!target) return {false, "resource manager", target.error().what()};
  auto known = manager::query_nodes(target->location, target->timeout);
  if (!known) return {false, "resource manager", known.error().what()};
  nodes = std::move(*known);
  std::size_t up = 0;
  for (const NodeInfo& info : nodes) up += info.state == "up" ? 1 : 0;
  return {true, "resource manager",
          "answers at " + target->location.address + ", " + std::to_string(up) + " of " +
              std::to_string(nodes.size()) + " nodes are up"};
}

/// How far the clocks of this node and of the others are from the resource manager's.
Finding clocks(const ManagerTarget& target, const std::vector<NodeInfo>& nodes) {
  const auto clock = manager::query_clock(target.location, target.timeout);
  if (!clock) return {false, "its clock", clock.error().what()};
  const auto off = [](std::chrono::milliseconds ahead) { return std::max(ahead, -ahead); };
  std::string text = "this node's is " + clock_text(clock->ahead, clock->error) + " of it";
  const auto farthest =
      std::max_element(nodes.begin(), nodes.end(), [&](const NodeInfo& a, const NodeInfo& b) {
        return off(a.clock_ahead) < off(b.clock_ahead);
      });
  if (farthest != nodes.end()) {
    text += ", of the nodes' that of " + farthest->name + " is farthest off with " +
            clock_text(farthest->clock_ahead, farthest->clock_error);
  }
  const bool good = off(clock->ahead) - clock->error <= clock->tolerance;
  text += "; nodes may be " + manager::duration_text(clock->tolerance) + " off";
  if (!good) text += ": set this node's clock by NTP, or its executor manager is refused";
  return {good, "its clock", text};
}

Finding connections(const ManagerTarget& target) {
  const auto counts = manager::query_connections(target.location, target.timeout);
  if (!counts) return {false, "its connections", counts.error().what()};
  std::string text =
      std::to_string(counts->now) + " of " + std::to_string(counts->limit) + " that it may have";
  const bool good = counts->closed + counts->refused == 0;
  if (!good) {
    text += "; " + std::to_string(counts->closed) + " were closed for others and " +
            std::to_string(counts->refused) +
            " refused since its start: see its log for whose, and start it with a higher "
            "'ulimit -n' if they are wanted";
  }
  return {good, "its connections", text};
}

/// How MPI requests of calls are completed (docs/how-to/wait.md).
Finding mpi_path(const MpiPathAnswer& answer) {
  const std::string what = "MPI progress path, " + answer.kind;
  if (!answer.path) return {false, what, answer.path.error().what()};
  return {answer.path->path != "none", what,
          answer.path->path + " (" + answer.path->mpi + ": " + answer.path->text + ")"};
}

std::vector<Finding> examine(const Result<ManagerTarget>& target) {
  std::vector<Finding> findings;
  bool locks_memory = false;
  for (const auto& state : transport::transport_states()) {
    findings.push_back({state.usable, std::string("transport ") + to_string(state.kind),
                        (state.usable ? "" : "cannot be used: ") + state.text});
    locks_memory = locks_memory || (state.locks_memory && state.usable);
  }
  for (const bool same_node : {true, false}) {
    findings.push_back(choice(same_node, target ? target->session.transport : ""));
  }
  if (locks_memory) findings.push_back(locked_memory());
  for (const MpiPathAnswer& answer : mpi_paths()) findings.push_back(mpi_path(answer));
  std::vector<NodeInfo> nodes;
  findings.push_back(resource_manager(target, nodes));
  if (target && findings.back().good) {
    findings.push_back(connections(*target));
    findings.push_back(clocks(*target, nodes));
  }
  return findings;
}

nlohmann::json to_json(const std::string& node, const std::vector<Finding>& findings) {
  auto list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"what", finding.what}, {"good", finding.good}, {"text", finding.text}});
  }
  return {{"node", node}, {"findings", list}};
}

std::string to_table(const std::string& node, const std::vector<Finding>& findings) {
  std::string text = "node " + node + "\n";
  for (const Finding& finding : findings) {
    text += (finding.good ? "  ok    " : "  note  ") + finding.what + ": " + finding.text + "\n";
  }
  return text;
}

}  // namespace

int doctor_command(const std::vector<std::string>& words) {
  return list_command(doctor_command_line(), words, [](const Values& values) -> Result<Listing> {
    const auto target = manager_target(values);
    const auto findings = examine(target);
    const std::string node = base::node_identity(target ? target->session.node_name : "").name;
    return Listing{to_table(node, findings), to_json(node, findings).dump(2) + "\n"};
  });
}

}  // namespace sublet::cli
