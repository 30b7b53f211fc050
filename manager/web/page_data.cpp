#include <sublet/version.hpp>

#include <web/json_text.hpp>
#include <web/limits.hpp>
#include <web/page_data.hpp>

#include <array>
#include <cstdio>
#include <map>
#include <unordered_map>

namespace sublet::manager::web {
namespace {

constexpr std::int64_t kSilenceStepMs = 10'000;

/// The users that the page names, each once; leases have their place in it.
class UserIndex {
 public:
  std::size_t add(const std::string& name) {
    const auto [place, is_new] = places_.try_emplace(name, names_.size());
    if (is_new) names_.push_back(name);
    return place->second;
  }
  void append_to(std::string& text) const {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (i > 0) text += ',';
      append_quoted(text, names_[i]);
    }
  }

 private:
  std::unordered_map<std::string, std::size_t> places_;
  std::vector<std::string> names_;
};

/// One lease on one node.
struct Share {
  std::size_t lease = 0;  ///< Its place among those shown.
  std::uint32_t cores = 0;
};

struct ShownLease {
  LeaseId id{};
  std::size_t user = 0;
  // As in `sublet leases`:
  bool claimed = false;  ///< One of its grants is.
  bool ending = true;    ///< All of them are.
  bool reserved = true;
  Time expires{};
  std::uint32_t cores = 0;
  std::uint32_t gpus = 0;
  std::uint32_t slurm_job = 0;
};

const char* state_text(const ShownLease& lease) {
  if (lease.ending) return "ending";
  if (lease.claimed) return "active";
  return lease.reserved ? "reserved" : "granted";
}

struct Cluster {
  UserIndex users;
  std::vector<ShownLease> leases;
  std::map<NodeNumber, std::vector<Share>> shares;
};

Cluster look(const ResourceManagerService& service, const Viewer& viewer) {
  Cluster cluster;
  service.book().grants().for_each([&](const GrantRecord& grant) {
    if (!viewer.sees(grant.terms.owner_uid)) return;
    const LeaseId id = grant.terms.key.lease;
    // A lease's grants come one after the other.
    if (cluster.leases.empty() || cluster.leases.back().id != id) {
      const std::string user = user_of(grant.terms.owner_uid, grant.terms.owner);
      ShownLease lease;
      lease.id = id;
      lease.user = cluster.users.add(user);
      lease.slurm_job = grant.terms.slurm_job;
      cluster.leases.push_back(lease);
    }
    ShownLease& lease = cluster.leases.back();
    lease.claimed |= grant.state == GrantState::kClaimed;
    lease.ending &= grant.state >= GrantState::kNoticed;
    lease.reserved &= grant.state == GrantState::kReserved;
    lease.expires = std::max(lease.expires, grant.terms.expires);
    lease.cores += grant.terms.cores();
    lease.gpus += grant.terms.gpus();
    cluster.shares[grant.terms.key.node].push_back(
        {cluster.leases.size() - 1, grant.terms.cores()});
  });
  return cluster;
}

void append_number(std::string& to, std::uint64_t number) {
  std::array<char, 24> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "%llu", static_cast<unsigned long long>(number));
  to.append(text.data(), static_cast<std::size_t>(size));
}

void append_node(std::string& to, const NodeTable::Load& load, Time now,
                 const std::vector<Share>* shares) {
  to += R"({"name":)";
  append_quoted(to, load.name);
  to += R"(,"state":")";
  to += to_string(load.state);
  to += R"(","cores":)";
  append_number(to, load.cores);
  to += R"(,"used":)";
  append_number(to, load.used_cores);
  if (load.gpus != 0) {
    to += R"(,"gpus":)";
    append_number(to, load.gpus);
    to += R"(,"used_gpus":)";
    append_number(to, load.used_gpus);
  }
  if (load.state == NodeTable::State::kLost) {
    to += R"(,"silent_ms":)";
    const std::int64_t silent = std::max<std::int64_t>(0, (now - load.heard).count());
    append_number(to, static_cast<std::uint64_t>(silent / kSilenceStepMs * kSilenceStepMs));
  }
  to += R"(,"leases":[)";
  for (std::size_t i = 0; shares != nullptr && i < shares->size(); ++i) {
    to += i == 0 ? "[" : ",[";
    append_number(to, (*shares)[i].lease);
    to += ',';
    append_number(to, (*shares)[i].cores);
    to += ']';
  }
  to += "]}";
}

void append_lease(std::string& to, const ShownLease& lease) {
  to += R"({"id":")";  // more bits than a number of JavaScript has
  append_number(to, number(lease.id));
  to += R"(","user":)";
  append_number(to, lease.user);
  to += R"(,"state":")";
  to += state_text(lease);
  to += R"(","cores":)";
  append_number(to, lease.cores);
  if (lease.gpus != 0) {
    to += R"(,"gpus":)";
    append_number(to, lease.gpus);
  }
  to += R"(,"expires":)";
  append_number(to,
                static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_unix_ms(lease.expires))));
  if (lease.slurm_job != 0) {
    to += R"(,"job":)";
    append_number(to, lease.slurm_job);
  }
  to += '}';
}

/// Others' requests count for the places of one's own, and are not shown.
void append_waiting(std::string& to, const ResourceManagerService& service, const Viewer& viewer) {
  std::size_t shown = 0;
  std::size_t place = 0;
  for (const WaitingRequest* request : service.desk().queue().all()) {
    ++place;
    const Requester& who = request->requester;
    if (!viewer.sees(who.caller.uid)) continue;
    if (shown == kMaxWaitingShown) break;
    to += shown++ == 0 ? R"({"place":)" : R"(,{"place":)";
    append_number(to, place);
    to += R"(,"id":")";
    append_number(to, number(request->number));
    to += R"(","user":)";
    append_quoted(to, user_of(who.caller.uid, who.owner));
    to += R"(,"cores":)";
    append_number(to, request->cores());
    if (request->gpus() != 0) {
      to += R"(,"gpus":)";
      append_number(to, request->gpus());
    }
    to += R"(,"since":)";
    append_number(to, static_cast<std::uint64_t>(to_unix_ms(request->asked)));
    to += R"(,"until":)";
    append_number(to, static_cast<std::uint64_t>(to_unix_ms(request->deadline)));
    to += '}';
  }
}

void append_real(std::string& to, const char* form, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), form, value);
  to += text.data();
}

std::uint64_t count_leases(const GrantTable& grants) {
  std::uint64_t leases = 0;
  LeaseId last{};
  grants.for_each([&](const GrantRecord& grant) {
    if (std::exchange(last, grant.terms.key.lease) != grant.terms.key.lease) ++leases;
  });
  return leases;
}

void append_sums(std::string& to, const ResourceManagerService& service) {
  std::array<std::uint64_t, 3> nodes{};
  std::uint64_t cores = 0;
  std::uint64_t held = 0;
  for (const NodeTable::Load& load : service.book().nodes().loads()) {
    ++nodes.at(static_cast<std::size_t>(load.state));
    if (load.state == NodeTable::State::kLost) continue;
    cores += load.cores;
    held += load.used_cores;
  }
  for (const auto& [name, value] :
       {std::pair("up", nodes[0]), std::pair("draining", nodes[1]), std::pair("lost", nodes[2]),
        std::pair("cores", cores), std::pair("held", held),
        std::pair("free", service.book().nodes().free_cores()),
        std::pair("leases", count_leases(service.book().grants())),
        std::pair("waiting", std::uint64_t{service.desk().queue().size()})}) {
    to += std::string(",\"") + name + "\":";
    append_number(to, value);
  }
}

}  // namespace

std::string overview_json(const ResourceManagerService& service, const Viewer& viewer) {
  const Time now = service.now();
  const Cluster cluster = look(service, viewer);
  std::string text = R"({"version":")" SUBLET_VERSION R"(","caller":)";
  append_quoted(text, viewer.name);
  text += viewer.only_uid ? R"(,"sees_all":false)" : R"(,"sees_all":true)";
  text += R"(,"users":[)";
  cluster.users.append_to(text);
  text += R"(],"leases":[)";
  for (std::size_t i = 0; i < cluster.leases.size(); ++i) {
    if (i > 0) text += ',';
    append_lease(text, cluster.leases[i]);
  }
  text += R"(],"nodes":[)";
  bool first = true;
  for (const NodeTable::Load& load : service.book().nodes().loads()) {
    if (!std::exchange(first, false)) text += ',';
    const auto shares = cluster.shares.find(load.node);
    append_node(text, load, now, shares == cluster.shares.end() ? nullptr : &shares->second);
  }
  text += R"(],"waiting":[)";
  append_waiting(text, service, viewer);
  return text + "]}";
}

std::string tick_json(const ResourceManagerService& service, const LoadHistory& history,
                      const Viewer& viewer) {
  std::string text = R"({"now":)";
  append_number(text, static_cast<std::uint64_t>(to_unix_ms(service.now())));
  append_sums(text, service);
  const LoadHistory::Rates rates = history.rates();
  append_real(text, ",\"calls_per_s\":%.1f", rates.calls_per_s);
  append_real(text, ",\"busy_cores\":%.2f", rates.busy_cores);
  append_real(text, ",\"mean_call_ns\":%.0f", rates.mean_call_ns);
  append_real(text, ",\"median_call_ns\":%.0f", rates.median_call_ns);
  append_real(text, ",\"p99_call_ns\":%.0f", rates.p99_call_ns);
  text += R"(,"ledger":[)";
  std::size_t shown = 0;
  for (const auto& [uid, account] : service.book().accounts().all()) {
    if (!viewer.sees(uid) || shown == kMaxUsersShown) continue;
    text += shown++ == 0 ? R"({"user":)" : R"(,{"user":)";
    append_quoted(text, user_of(uid, {}));
    text += R"(,"held":)";
    append_number(text, account.held_cores);
    append_real(text, ",\"core_s_today\":%.0f", static_cast<double>(account.used_core_ms) * 1e-3);
    text += '}';
  }
  return text + "]}";
}

}  // namespace sublet::manager::web
