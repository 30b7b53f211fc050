#include <common/auth/caller.hpp>
#include <common/views.hpp>

#include <nlohmann/json.hpp>

namespace sublet::manager {
namespace {

using nlohmann::json;

json to_value(const std::vector<GpuInfo>& gpus) {
  auto values = json::array();
  for (const GpuInfo& gpu : gpus) {
    values.push_back({{"uuid", gpu.uuid}, {"name", gpu.name}, {"memory_bytes", gpu.memory_bytes}});
  }
  return values;
}

json to_value(const NodeInfo& info) {
  return {{"name", info.name},
          {"node_id", info.node_id},
          {"state", info.state},
          {"cores", info.cores},
          {"free_cores", info.free_cores},
          {"widest_worker", info.widest_worker},
          {"memory_bytes", info.memory_bytes},
          {"free_memory_bytes", info.free_memory_bytes},
          {"gpus", to_value(info.gpus)},
          {"free_gpus", info.free_gpus},
          {"warm_executors", info.warm_executors},
          {"cpuset", info.cpuset},
          {"addresses", info.addresses},
          {"heartbeat_age_ms", info.heartbeat_age.count()},
          {"clock_ahead_ms", info.clock_ahead.count()},
          {"clock_error_ms", info.clock_error.count()}};
}

json to_value(const Usage& usage) {
  return {{"invocations", usage.invocations}, {"compute_ns", usage.compute_ns},
          {"hot_poll_ns", usage.hot_poll_ns}, {"bytes_in", usage.bytes_in},
          {"bytes_out", usage.bytes_out},     {"core_seconds", usage.core_seconds},
          {"gpu_seconds", usage.gpu_seconds}};
}

json to_value(const LeaseInfo& lease) {
  return {{"id", lease.id},
          {"state", lease.state},
          {"owner", lease.owner},
          {"cores", lease.cores},
          {"gpus", lease.gpus},
          {"nodes", lease.nodes},
          {"expires_unix_ms", lease.expires_unix_ms},
          {"usage", to_value(lease.usage)},
          {"uid", lease.uid == kUnknownUid ? json() : json(lease.uid)},
          {"slurm_job", lease.slurm_job},
          {"priority", lease.priority},
          {"notice_ms", lease.notice.count()},
          {"reason", lease.reason},
          {"waited_ms", lease.waited.count()},
          {"place", lease.place}};
}

json to_value(const std::optional<std::uint64_t>& amount) {
  return amount ? json(*amount) : json();
}

json to_value(const wire::QuotaInfo& quota) {
  return {{"everybody", quota.everybody},
          {"uid", quota.everybody || quota.uid == kUnknownUid ? json() : json(quota.uid)},
          {"user", quota.user},
          {"own", quota.own},
          {"cores", to_value(quota.quota.cores)},
          {"core_seconds_a_day", to_value(quota.quota.core_seconds)},
          {"held_cores", quota.held_cores},
          {"used_core_seconds", quota.used_core_seconds},
          {"promised_core_seconds", quota.promised_core_seconds},
          {"waiting", quota.waiting},
          {"share", quota.share}};
}

template <class Info>
std::string to_text(const char* name, std::span<const Info> infos) {
  auto values = json::array();
  for (const Info& info : infos) values.push_back(to_value(info));
  return json{{name, std::move(values)}}.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace

std::string to_json(std::span<const NodeInfo> nodes) {
  return to_text("nodes", nodes);
}

std::string to_json(std::span<const LeaseInfo> leases) {
  return to_text("leases", leases);
}

std::string to_json(std::span<const wire::QuotaInfo> quotas) {
  return to_text("quotas", quotas);
}

}  // namespace sublet::manager
