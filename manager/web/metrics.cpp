#include <base/printable_text.hpp>
#include <sublet/version.hpp>

#include <web/limits.hpp>
#include <web/metrics.hpp>
#include <web/process_numbers.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <tuple>

namespace sublet::manager::web {
namespace {

using NodeState = NodeTable::State;

/// A name as a label's value: whoever wrote it.
std::string label_value(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : base::printable(text)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

class MetricsText {
 public:
  /// What follows belongs to this metric.
  void metric(const char* name, const char* type, const char* help) {
    name_ = name;
    text_ += std::string("# HELP ") + name + ' ' + help + "\n# TYPE " + name + ' ' + type + '\n';
  }
  void value(double value, const std::string& labels = {}) {
    std::array<char, 40> number{};
    std::snprintf(number.data(), number.size(), " %.17g\n", value);
    text_ += name_;
    if (!labels.empty()) text_ += '{' + labels + '}';
    text_ += number.data();
  }
  void value(std::uint64_t value, const std::string& labels = {}) {
    text_ += name_;
    if (!labels.empty()) text_ += '{' + labels + '}';
    text_ += ' ' + std::to_string(value) + '\n';
  }
  void value(std::size_t count, const char* label, const char* is) {
    value(std::uint64_t{count}, std::string(label) + "=\"" + is + '"');
  }
  /// A part of the metric: "_bucket", "_sum" and "_count" of a histogram.
  void part(const char* suffix, std::uint64_t number, const std::string& labels = {}) {
    text_ += name_ + suffix;
    if (!labels.empty()) text_ += '{' + labels + '}';
    text_ += ' ' + std::to_string(number) + '\n';
  }
  void part(const char* suffix, double number) {
    std::array<char, 40> digits{};
    std::snprintf(digits.data(), digits.size(), " %.17g\n", number);
    text_ += name_ + suffix + digits.data();
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  std::string name_;
};

struct NodeSums {
  std::array<std::uint64_t, 3> nodes{};  ///< By state.
  std::uint64_t cores = 0;               ///< Of nodes that are not lost.
  std::uint64_t held = 0;
  std::uint64_t gpus = 0;
  std::uint64_t held_gpus = 0;
  std::uint64_t memory = 0;
  std::uint64_t held_memory = 0;
  milliseconds worst_clock{0};
};

NodeSums sum_of(const std::vector<NodeTable::Load>& loads) {
  NodeSums sums;
  for (const NodeTable::Load& load : loads) {
    ++sums.nodes.at(static_cast<std::size_t>(load.state));
    if (load.state == NodeState::kLost) continue;
    sums.cores += load.cores;
    sums.held += load.used_cores;
    sums.gpus += load.gpus;
    sums.held_gpus += load.used_gpus;
    sums.memory += load.memory_bytes;
    sums.held_memory += load.used_memory_bytes;
    sums.worst_clock = std::max(sums.worst_clock, milliseconds(std::abs(load.clock_ahead.count())));
  }
  return sums;
}

void add_nodes(MetricsText& text, const ResourceManagerService& service) {
  const auto loads = service.book().nodes().loads();
  const NodeSums sums = sum_of(loads);
  text.metric("sublet_nodes", "gauge", "Nodes that have registered, by state.");
  for (const NodeState state : {NodeState::kUp, NodeState::kDraining, NodeState::kLost}) {
    text.value(sums.nodes.at(static_cast<std::size_t>(state)), "state", to_string(state));
  }
  text.metric("sublet_cores", "gauge", "Cores of nodes that are up or draining.");
  text.value(sums.cores);
  text.metric("sublet_cores_held", "gauge", "Of these, cores in leases.");
  text.value(sums.held);
  text.metric("sublet_cores_free", "gauge", "Cores that could be leased now.");
  text.value(service.book().nodes().free_cores());
  text.metric("sublet_gpus", "gauge", "GPUs of nodes that are up or draining.");
  text.value(sums.gpus);
  text.metric("sublet_gpus_held", "gauge", "Of these, GPUs in leases.");
  text.value(sums.held_gpus);
  text.metric("sublet_memory_bytes", "gauge", "Memory of nodes that are up or draining.");
  text.value(sums.memory);
  text.metric("sublet_memory_held_bytes", "gauge", "Of this, memory in leases.");
  text.value(sums.held_memory);
  text.metric("sublet_clock_offset_seconds_max", "gauge",
              "How far a node's clock was from the resource manager's when it registered.");
  text.value(static_cast<double>(sums.worst_clock.count()) * 1e-3);
  const std::size_t shown = std::min(loads.size(), kMaxNodesShown);
  text.metric("sublet_node_cores", "gauge", "Cores of a node.");
  for (std::size_t i = 0; i < shown; ++i) {
    text.value(std::uint64_t{loads[i].cores}, "node=" + label_value(loads[i].name));
  }
  text.metric("sublet_node_cores_held", "gauge", "Of these, cores in leases.");
  for (std::size_t i = 0; i < shown; ++i) {
    text.value(std::uint64_t{loads[i].used_cores}, "node=" + label_value(loads[i].name));
  }
  text.metric("sublet_node_gpus", "gauge", "GPUs of a node that has some.");
  for (std::size_t i = 0; i < shown; ++i) {
    if (loads[i].gpus == 0) continue;
    text.value(std::uint64_t{loads[i].gpus}, "node=" + label_value(loads[i].name));
  }
  text.metric("sublet_node_gpus_held", "gauge", "Of these, GPUs in leases.");
  for (std::size_t i = 0; i < shown; ++i) {
    if (loads[i].gpus == 0) continue;
    text.value(std::uint64_t{loads[i].used_gpus}, "node=" + label_value(loads[i].name));
  }
  text.metric("sublet_node_up", "gauge", "1 for a node that is up or draining, 0 for a lost one.");
  for (std::size_t i = 0; i < shown; ++i) {
    text.value(std::uint64_t{loads[i].state == NodeState::kLost ? 0u : 1u},
               "node=" + label_value(loads[i].name));
  }
  text.metric("sublet_nodes_not_shown", "gauge", "Nodes that are too many to be named here.");
  text.value(std::uint64_t{loads.size() - shown});
}

void add_leases(MetricsText& text, const ResourceManagerService& service) {
  std::map<std::string, std::uint64_t> states = {
      {"reserved", 0}, {"granted", 0}, {"active", 0}, {"ending", 0}};
  for (const LeaseInfo& lease : service.book().grants().leases(false)) ++states[lease.state];
  text.metric("sublet_leases", "gauge", "Leases that have not ended, by state.");
  for (const auto& [state, number] : states) {
    text.value(number, "state=" + label_value(state));
  }
  text.metric("sublet_requests_waiting", "gauge", "Requests that wait for cores.");
  text.value(std::uint64_t{service.desk().queue().size()});
  milliseconds longest{0};
  for (const WaitingRequest* request : service.desk().queue().all()) {
    longest = std::max(longest, milliseconds(service.now() - request->asked));
  }
  text.metric("sublet_longest_wait_seconds", "gauge",
              "How long the oldest of these has waited so far.");
  text.value(static_cast<double>(longest.count()) * 1e-3);
}

/// In steps of a power of two: a quarter of the buckets that there are.
void add_call_times(MetricsText& text, const wire::CallTimes& times) {
  text.metric("sublet_call_seconds", "histogram", "How long functions have run, by call.");
  std::uint64_t calls = 0;
  for (std::size_t bucket = 0; bucket + 1 < times.calls.size(); ++bucket) {
    wire::CallTimes::add(calls, times.calls[bucket]);
    if (bucket % wire::kBucketsPerOctave != 0) continue;
    std::array<char, 40> end{};
    std::snprintf(end.data(), end.size(), "le=\"%.12g\"",
                  static_cast<double>(wire::call_time_floor(bucket + 1)) * 1e-9);
    text.part("_bucket", calls, end.data());
  }
  text.part("_bucket", times.count(), "le=\"+Inf\"");
  text.part("_sum", static_cast<double>(times.total_ns) * 1e-9);
  text.part("_count", times.count());
}

void add_totals(MetricsText& text, const LeaseBook::Totals& totals) {
  text.metric("sublet_grants_total", "counter", "Grants that nodes have taken.");
  text.value(totals.granted);
  text.metric("sublet_grants_claimed_total", "counter", "Grants that clients have claimed.");
  text.value(totals.claimed);
  text.metric("sublet_grants_ended_total", "counter",
              "Grants that have ended, by how it is known.");
  constexpr std::array kHow = {"reported", "not_held", "node_left", "node_lost"};
  static_assert(kHow.size() == kGrantEnds);
  for (std::size_t i = 0; i < kGrantEnds; ++i) text.value(totals.ended.at(i), "how", kHow.at(i));
  text.metric("sublet_invocations_total", "counter", "Calls that workers have run.");
  text.value(totals.used.invocations);
  text.metric("sublet_compute_seconds_total", "counter", "Time that functions have run.");
  text.value(static_cast<double>(totals.used.compute_ns) * 1e-9);
  add_call_times(text, totals.call_times);
  text.metric("sublet_hot_poll_seconds_total", "counter",
              "Time that workers have polled for calls.");
  text.value(static_cast<double>(totals.used.hot_poll_ns) * 1e-9);
  text.metric("sublet_bytes_in_total", "counter", "Bytes of inputs.");
  text.value(totals.used.bytes_in);
  text.metric("sublet_bytes_out_total", "counter", "Bytes of results.");
  text.value(totals.used.bytes_out);
  text.metric("sublet_core_seconds_total", "counter", "Cores held, times the time they were held.");
  text.value(totals.used.core_seconds);
  text.metric("sublet_gpu_seconds_total", "counter", "GPUs held, times the time they were held.");
  text.value(totals.used.gpu_seconds);
}

struct UserSum {
  std::string name;
  std::uint64_t held = 0;
  double core_s = 0;
};

/// Those who hold most, and the others together.
std::vector<UserSum> users_of(const ResourceManagerService& service, const Viewer& viewer) {
  std::vector<UserSum> users;
  for (const auto& [uid, account] : service.book().accounts().all()) {
    if (!viewer.sees(uid)) continue;
    users.push_back(
        {user_of(uid, {}), account.held_cores, static_cast<double>(account.used_core_ms) * 1e-3});
  }
  std::sort(users.begin(), users.end(), [](const UserSum& a, const UserSum& b) {
    return std::tie(b.held, b.core_s, a.name) < std::tie(a.held, a.core_s, b.name);
  });
  if (users.size() <= kMaxUsersShown) return users;
  UserSum others{.name = "other"};
  for (std::size_t i = kMaxUsersShown; i < users.size(); ++i) {
    others.held += users[i].held;
    others.core_s += users[i].core_s;
  }
  users.resize(kMaxUsersShown);
  users.push_back(std::move(others));
  return users;
}

void add_users(MetricsText& text, const ResourceManagerService& service, const Viewer& viewer) {
  const auto users = users_of(service, viewer);
  text.metric("sublet_user_cores_held", "gauge", "Cores in a user's leases.");
  for (const UserSum& user : users) text.value(user.held, "user=" + label_value(user.name));
  text.metric("sublet_user_core_seconds_today", "gauge",
              "Core-seconds that a user has used since midnight UTC.");
  for (const UserSum& user : users) text.value(user.core_s, "user=" + label_value(user.name));
}

void add_connections(MetricsText& text, const char* prefix, const ConnectionTable::State& state) {
  const auto name = [prefix](const char* rest) { return std::string(prefix) + rest; };
  text.metric(name("connections").c_str(), "gauge", "Connections that are open.");
  text.value(std::uint64_t{state.connections});
  text.metric(name("connections_limit").c_str(), "gauge", "How many may be.");
  text.value(std::uint64_t{state.limit});
  text.metric(name("connections_closed_total").c_str(), "counter",
              "Connections closed to make room for others.");
  text.value(state.closed);
  text.metric(name("connections_refused_total").c_str(), "counter",
              "Connections for which there was no room.");
  text.value(state.refused);
}

void add_process(MetricsText& text) {
  const ProcessNumbers process = ProcessNumbers::read();
  text.metric("process_cpu_seconds_total", "counter", "Time that this process has computed.");
  text.value(process.cpu_s);
  text.metric("process_resident_memory_bytes", "gauge", "Memory of this process.");
  text.value(process.resident_bytes);
  text.metric("process_open_fds", "gauge", "Descriptors that are open.");
  text.value(process.open_descriptors);
  text.metric("process_max_fds", "gauge", "How many may be.");
  text.value(process.descriptor_limit);
}

}  // namespace

std::string metrics_text(const MetricsSource& source, const Viewer& viewer) {
  const ResourceManagerService& service = source.service;
  MetricsText text;
  text.metric("sublet_build_info", "gauge", "The version of the resource manager.");
  text.value(std::uint64_t{1}, "version=" + label_value(SUBLET_VERSION));
  text.metric("sublet_up", "gauge", "1 while leases can be had, as far as the manager can say.");
  text.value(std::uint64_t{service.ready() ? 1u : 0u});
  if (const auto unwritten = service.unwritten()) {
    text.metric("sublet_ledger_unwritten", "gauge", "Events that are not on disk yet.");
    text.value(*unwritten);
  }
  add_nodes(text, service);
  add_leases(text, service);
  add_totals(text, service.book().totals());
  add_users(text, service, viewer);
  if (source.connections != nullptr) add_connections(text, "sublet_", *source.connections);
  if (source.web_connections != nullptr) {
    add_connections(text, "sublet_http_", *source.web_connections);
  }
  text.metric("sublet_http_answers_total", "counter", "Answers over HTTP, by status.");
  constexpr std::array kClasses = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
  for (std::size_t i = 2; i < kClasses.size(); ++i) {
    text.value(source.web.answers.at(i), "status", kClasses.at(i));
  }
  text.metric("sublet_http_streams", "gauge", "Pages that are open.");
  text.value(source.web.streams);
  add_process(text);
  return text.take();
}

}  // namespace sublet::manager::web
