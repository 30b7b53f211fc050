#include <cli/doctor/transport_findings.hpp>
#include <cli/mpi_paths.hpp>
#include <transport/any/choice.hpp>
#include <transport/any/states.hpp>
#include <transport/verbs/verbs_devices.hpp>

namespace sublet::cli {
namespace {

/// RDMA devices are optional hardware; one that is there and cannot be used is worth a word.
Grade grade_of(const transport::TransportState& state, bool has_devices) {
  if (state.usable) return Grade::kOk;
  return state.locks_memory && has_devices ? Grade::kNote : Grade::kAbsent;
}

Finding choice(bool same_node, const std::string& wanted) {
  const std::string what = same_node ? "calls on this node" : "calls to another node";
  const auto preference = transport::prefer(same_node, wanted);
  if (!preference) {
    return {Grade::kFault, what, preference.error().what(), "a transport that both ends can use",
            "unset SUBLET_TRANSPORT (`transport` in the configuration file), or name another one"};
  }
  std::string kinds;
  for (const auto kind : preference->kinds)
    kinds += (kinds.empty() ? "" : ", else ") + std::string(to_string(kind));
  return {Grade::kOk, what, kinds + " (" + preference->reasons + ")"};
}

Finding devices(bool& has_devices) {
  const auto found = transport::verbs::devices();
  has_devices = found && !found->empty();
  if (!found) return {Grade::kAbsent, "RDMA devices", found.error().what()};
  if (found->empty()) return {Grade::kAbsent, "RDMA devices", "none"};
  std::string text;
  bool active = false;
  for (const auto& device : *found) {
    active = active || device.state == "active";
    text += (text.empty() ? "" : ", ") + device.name + " port " + std::to_string(device.port) +
            ": " + device.state;
  }
  if (active) return {Grade::kOk, "RDMA devices", text};
  return {Grade::kNote, "RDMA devices", text, "a port that is active",
          "look at the cable, the subnet manager (InfiniBand) and 'ip link' (RoCE)"};
}

/// How MPI requests of calls are completed (docs/how-to/wait.md).
Finding mpi_path(const MpiPathAnswer& answer) {
  const std::string what = "MPI progress path, " + answer.kind;
  if (!answer.path) {
    return {Grade::kNote, what, answer.path.error().what(),
            "an MPI that runs here, if programs use it", "install it, or load its module"};
  }
  const std::string text =
      answer.path->path + " (" + answer.path->mpi + ": " + answer.path->text + ")";
  if (answer.path->path != "none") return {Grade::kOk, what, text};
  return {Grade::kNote, what, text, "progress, poll or helper",
          "see \"Wait for calls\" (docs/how-to/wait.md), and SUBLET_MPI_REQUESTS"};
}

}  // namespace

Findings transport_findings(const std::string& wanted, bool& locks_memory) {
  bool has_devices = false;
  const Finding rdma = devices(has_devices);
  Findings findings;
  locks_memory = false;
  for (const auto& state : transport::transport_states()) {
    findings.push_back({grade_of(state, has_devices),
                        std::string("transport ") + to_string(state.kind),
                        (state.usable ? "" : "cannot be used: ") + state.text});
    locks_memory = locks_memory || (state.locks_memory && state.usable);
  }
  findings.push_back(rdma);
  for (const bool same_node : {true, false}) findings.push_back(choice(same_node, wanted));
  return findings;
}

Findings mpi_findings() {
  Findings findings;
  for (const MpiPathAnswer& answer : mpi_paths()) findings.push_back(mpi_path(answer));
  return findings;
}

}  // namespace sublet::cli
