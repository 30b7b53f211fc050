#include <resource_manager/refusal_text.hpp>

#include <array>

namespace sublet::manager {
namespace {

/// The text names this many nodes and counts the rest.
constexpr std::size_t kNamedNodes = 8;

std::string counted(std::uint64_t count, const char* noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string asked_text(const LeaseRequest& request) {
  const bool wide = request.cores_per_worker != 1 || request.gpus_per_worker != 0;
  const std::uint64_t total = std::uint64_t{request.cores} * request.parts;
  std::string text = "asked for " + counted(total, wide ? "worker" : "core");
  if (wide) text += " of " + counted(request.cores_per_worker, "core");
  if (request.gpus_per_worker != 0) text += " and " + counted(request.gpus_per_worker, "GPU");
  if (wide) text += " each";
  if (request.parts == 1) return text + " and " + bytes_text(request.memory_bytes);
  return text + " in " + std::to_string(request.parts) + " parts of " +
         std::to_string(request.cores) + " and " + bytes_text(request.memory_bytes) + " each";
}

std::string free_text(const LeaseRequest& request, std::span<const NodeInfo> nodes) {
  std::string names;
  std::size_t with_room = 0;
  std::uint64_t cores = 0;
  for (const NodeInfo& node : nodes) {
    if (node.state != "up" || node.free_cores == 0) continue;
    cores += node.free_cores;
    if (++with_room > kNamedNodes) continue;
    names += (names.empty() ? "" : ", ") + node.name + " " + counted(node.free_cores, "core") +
             " " + bytes_text(node.free_memory_bytes);
    if (request.gpus_per_worker != 0) names += " " + counted(node.free_gpus, "GPU");
  }
  if (with_room == 0) return "free are 0 cores";
  if (with_room > kNamedNodes) {
    names += " and " + std::to_string(with_room - kNamedNodes) + " more";
  }
  return "free are " + counted(cores, "core") + " on " + counted(with_room, "node") + ": " + names;
}

/// Where no node, even without its leases, has room for one of the workers.
std::string width_text(const LeaseRequest& request, std::span<const NodeInfo> nodes) {
  const NodeInfo* widest = nullptr;
  for (const NodeInfo& node : nodes) {
    if (node.state != "up") continue;
    if (widest == nullptr || node.widest_worker > widest->widest_worker) widest = &node;
  }
  if (widest == nullptr || request.cores_per_worker <= widest->widest_worker) return {};
  return "; the cores of a worker are on one node, and no node has so many: the largest, " +
         widest->name + ", has " + std::to_string(widest->widest_worker);
}

/// Where no node has the GPUs of one of the workers, or only in others' leases.
std::string gpu_text(const LeaseRequest& request, std::span<const NodeInfo> nodes) {
  if (request.gpus_per_worker == 0) return {};
  const NodeInfo* most = nullptr;
  for (const NodeInfo& node : nodes) {
    if (node.state != "up" || node.gpus.empty()) continue;
    if (most == nullptr || node.gpus.size() > most->gpus.size()) most = &node;
  }
  if (most == nullptr) return "; no node offers GPUs (`sublet nodes` lists them)";
  if (request.gpus_per_worker <= most->gpus.size()) return {};
  return "; the GPUs of a worker are on one node, and no node has so many: " + most->name +
         " has the most, " + std::to_string(most->gpus.size());
}

std::string state_text(std::span<const NodeInfo> nodes, const char* state, bool say_none) {
  std::size_t count = 0;
  for (const NodeInfo& node : nodes) count += node.state == state ? 1 : 0;
  if (count == 0) return say_none ? std::string("; no node is ") + state : "";
  return "; " + counted(count, "node") + (count == 1 ? " is " : " are ") + state;
}

}  // namespace

std::string duration_text(std::chrono::milliseconds duration) {
  constexpr std::int64_t kSecond = 1000;
  constexpr std::int64_t kMinute = 60 * kSecond;
  constexpr std::int64_t kHour = 60 * kMinute;
  const std::int64_t ms = duration.count();
  if (ms < 10 * kSecond && ms % kSecond != 0) return std::to_string(ms) + " ms";
  if (ms < 2 * kMinute) return std::to_string(ms / kSecond) + " s";
  const std::string minutes = std::to_string(ms % kHour / kMinute) + " min";
  return ms < kHour ? minutes : std::to_string(ms / kHour) + " h " + minutes;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {" bytes", " KiB", " MiB", " GiB", " TiB"};
  std::size_t unit = 0;
  std::uint64_t scale = 1;
  while (unit + 1 < kUnits.size() && bytes / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  std::string text = std::to_string(bytes / scale);
  const std::uint64_t tenth = bytes % scale * 10 / scale;
  if (tenth != 0) text += "." + std::to_string(tenth);
  return text + kUnits[unit];
}

std::string refusal_text(const LeaseRequest& request, std::span<const NodeInfo> nodes) {
  if (nodes.empty()) return asked_text(request) + "; no node has registered";
  return asked_text(request) + "; " + free_text(request, nodes) + width_text(request, nodes) +
         gpu_text(request, nodes) + state_text(nodes, "lost", true) +
         state_text(nodes, "draining", false);
}

}  // namespace sublet::manager
