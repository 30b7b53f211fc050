#include <cli/doctor/manager_findings.hpp>
#include <cli/output.hpp>
#include <common/manager_query.hpp>
#include <resource_manager/refusal_text.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sublet::cli {
namespace {

/// What it says, or why there are no nodes.
Finding resource_manager(const Result<ManagerTarget>& target, bool named,
                         std::vector<NodeInfo>& nodes) {
  const std::string what = "resource manager";
  if (!target) {
    return {Grade::kFault, what, target.error().what(), "", "correct what the text names"};
  }
  auto known = manager::query_nodes(target->location, target->timeout);
  if (!known && !named && known.error().kind() == ErrorKind::kDisconnected) {
    return {Grade::kAbsent, what, known.error().what(),
            "none is named (SUBLET_MANAGER): applications start a private one"};
  }
  if (!known) {
    return {Grade::kFault, what, known.error().what(), "a resource manager that answers",
            "start it, or correct SUBLET_MANAGER or `manager` in the configuration file"};
  }
  nodes = std::move(*known);
  const auto up = std::count_if(nodes.begin(), nodes.end(),
                                [](const NodeInfo& info) { return info.state == "up"; });
  const std::string text = "answers at " + target->location.address + ", " + std::to_string(up) +
                           " of " + std::to_string(nodes.size()) + " nodes are up";
  if (up != 0) return {Grade::kOk, what, text};
  return {Grade::kNote, what, text, "a node: nothing can be leased",
          "start `sublet executor-manager` on the nodes"};
}

/// How far the clocks of this node and of the others are from the resource manager's.
Finding clocks(const ManagerTarget& target, const std::vector<NodeInfo>& nodes) {
  const auto clock = manager::query_clock(target.location, target.timeout);
  if (!clock) return {Grade::kNote, "its clock", clock.error().what()};
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
  if (off(clock->ahead) - clock->error <= clock->tolerance) {
    return {Grade::kOk, "its clock",
            text + "; nodes may be " + manager::duration_text(clock->tolerance) + " off"};
  }
  return {Grade::kFault, "its clock", text,
          "at most " + manager::duration_text(clock->tolerance) +
              ": this node's executor manager is refused",
          "set this node's clock by NTP"};
}

Finding connections(const ManagerTarget& target) {
  const auto counts = manager::query_connections(target.location, target.timeout);
  if (!counts) return {Grade::kNote, "its connections", counts.error().what()};
  const std::string text =
      std::to_string(counts->now) + " of " + std::to_string(counts->limit) + " that it may have";
  if (counts->closed + counts->refused == 0) return {Grade::kOk, "its connections", text};
  return {Grade::kNote, "its connections",
          text + "; " + std::to_string(counts->closed) + " were closed for others and " +
              std::to_string(counts->refused) + " refused since its start",
          "none of either",
          "see its log for whose, and start it with a higher 'ulimit -n' if they are wanted"};
}

}  // namespace

Findings manager_findings(const Result<ManagerTarget>& target, bool named) {
  std::vector<NodeInfo> nodes;
  Findings findings{resource_manager(target, named, nodes)};
  const Grade grade = findings.front().grade;
  if (target && (grade == Grade::kOk || grade == Grade::kNote)) {
    findings.push_back(connections(*target));
    findings.push_back(clocks(*target, nodes));
  }
  return findings;
}

}  // namespace sublet::cli
