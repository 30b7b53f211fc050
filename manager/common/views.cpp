#include <common/views.hpp>

#include <nlohmann/json.hpp>

namespace sublet::manager {
namespace {

using nlohmann::json;

json to_value(const NodeInfo& info) {
  return {{"name", info.name},
          {"node_id", info.node_id},
          {"state", info.state},
          {"cores", info.cores},
          {"free_cores", info.free_cores},
          {"widest_worker", info.widest_worker},
          {"memory_bytes", info.memory_bytes},
          {"free_memory_bytes", info.free_memory_bytes},
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
          {"bytes_out", usage.bytes_out},     {"core_seconds", usage.core_seconds}};
}

json to_value(const LeaseInfo& lease) {
  return {{"id", lease.id},
          {"state", lease.state},
          {"owner", lease.owner},
          {"cores", lease.cores},
          {"nodes", lease.nodes},
          {"expires_unix_ms", lease.expires_unix_ms},
          {"usage", to_value(lease.usage)}};
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

}  // namespace sublet::manager
