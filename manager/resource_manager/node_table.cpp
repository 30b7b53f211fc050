#include <resource_manager/node_table.hpp>

#include <limits>
#include <tuple>

namespace sublet::manager {
namespace {

constexpr std::size_t kMaxNodeName = 255;

}  // namespace

Result<void> NodeTable::check(const NodeOffer& offer) const {
  if (offer.name.empty() || offer.name.size() > kMaxNodeName || offer.node_id.empty() ||
      offer.node_id.size() > 2 * kMaxNodeName) {
    return fail(ErrorKind::kInvalid, "a node's name and id must have 1 to 255 bytes");
  }
  if (offer.cores == 0) {
    return fail(ErrorKind::kInvalid, "node " + offer.name + " offers no cores");
  }
  if (!ids_.contains(offer.node_id) && nodes_.size() >= limits_.nodes) {
    return fail(ErrorKind::kOverloaded, "node " + offer.name + " would be one more than the " +
                                            std::to_string(limits_.nodes) + " this manager keeps");
  }
  return {};
}

Result<NodeNumber> NodeTable::join(const NodeOffer& offer, Time now) {
  if (auto ok = check(offer); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  const auto [id, is_new] = ids_.try_emplace(offer.node_id, NodeNumber{next_});
  if (is_new) ++next_;
  Node& node = nodes_[id->second];
  forget_gpus(id->second, node);
  node.offer = offer;
  for (const GpuInfo& gpu : offer.gpus) gpu_owners_[gpu.uuid] = id->second;
  if (offer.widest_worker == 0 || offer.widest_worker > offer.cores) {
    node.offer.widest_worker = offer.cores;
  }
  node.heard = now;
  node.connected = true;
  node.draining = false;
  node.written_off = false;
  index(id->second, node);
  return id->second;
}

bool NodeTable::heartbeat(NodeNumber number, Time now, const DirectUse& direct) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end() || !node->second.connected) return false;
  node->second.heard = now;
  if (node->second.direct == direct) return true;
  node->second.direct = direct;
  index(number, node->second);
  return true;
}

void NodeTable::disconnect(NodeNumber number, Time now) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end() || !node->second.connected) return;
  node->second.connected = false;
  node->second.heard = now;
  index(number, node->second);
}

void NodeTable::set_draining(NodeNumber number, bool draining) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end()) return;
  node->second.draining = draining;
  index(number, node->second);
}

void NodeTable::set_warm(NodeNumber number, std::uint32_t executors) {
  if (const auto node = nodes_.find(number); node != nodes_.end()) {
    node->second.warm_executors = executors;
  }
}

void NodeTable::index(NodeNumber number, Node& node) {
  const std::uint32_t now = node.connected && !node.draining ? node.free_cores() : 0;
  if (now == node.indexed) return;
  if (node.indexed != 0) by_free_cores_.erase({node.indexed, number});
  if (now != 0) by_free_cores_.emplace(now, number);
  free_cores_ = free_cores_ - node.indexed + now;
  node.indexed = now;
}

void NodeTable::forget(NodeNumber number) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end()) return;
  ids_.erase(node->second.offer.node_id);
  forget_gpus(number, node->second);
  by_free_cores_.erase({node->second.indexed, number});
  free_cores_ -= node->second.indexed;
  nodes_.erase(node);
}

void NodeTable::forget_gpus(NodeNumber number, const Node& node) {
  for (const GpuInfo& gpu : node.offer.gpus) {
    const auto owner = gpu_owners_.find(gpu.uuid);
    if (owner != gpu_owners_.end() && owner->second == number) gpu_owners_.erase(owner);
  }
}

void NodeTable::take(const GrantTerms& terms) {
  Node& node = nodes_.at(terms.key.node);
  node.grants.insert(terms.key);
  node.used_cores += terms.cores();
  node.used_memory += terms.memory_bytes;
  node.used_gpus += terms.gpus();
  index(terms.key.node, node);
}

void NodeTable::give_back(const GrantTerms& terms) {
  Node& node = nodes_.at(terms.key.node);
  node.grants.erase(terms.key);
  node.used_cores -= terms.cores();
  node.used_memory -= terms.memory_bytes;
  node.used_gpus -= terms.gpus();
  index(terms.key.node, node);
}

void NodeTable::excuse_silence(milliseconds time) {
  for (auto& [number, node] : nodes_) node.heard += time;
}

std::vector<NodeTable::Silent> NodeTable::write_off_silent(Time now) {
  std::vector<Silent> silent;
  for (auto& [number, node] : nodes_) {
    const milliseconds silence = now - node.heard;
    if (node.written_off || silence <= limits_.lost_after) continue;
    node.connected = false;
    node.written_off = true;
    index(number, node);
    silent.push_back({number, silence});
  }
  return silent;
}

void NodeTable::forget_lost(Time now) {
  std::erase_if(nodes_, [&](const auto& entry) {
    const Node& node = entry.second;
    if (!node.written_off || now - node.heard <= limits_.forget_after) return false;
    ids_.erase(node.offer.node_id);
    forget_gpus(entry.first, node);
    return true;
  });
}

// ---- looking ----

const NodeTable::Node* NodeTable::known(NodeNumber number) const {
  const auto node = nodes_.find(number);
  return node == nodes_.end() ? nullptr : &node->second;
}

std::vector<NodeInfo> NodeTable::views(Time now) const {
  std::vector<std::pair<NodeNumber, NodeInfo>> views;
  for (const auto& [number, node] : nodes_) views.emplace_back(number, view(node, now));
  std::sort(views.begin(), views.end(), [](const auto& a, const auto& b) {
    return std::tie(a.second.name, a.first) < std::tie(b.second.name, b.first);
  });
  std::vector<NodeInfo> infos;
  infos.reserve(views.size());
  for (auto& [number, info] : views) infos.push_back(std::move(info));
  return infos;
}

NodeInfo NodeTable::view(const Node& node, Time now) {
  NodeInfo info;
  info.name = node.offer.name;
  info.node_id = node.offer.node_id;
  info.cores = node.offer.cores;
  info.widest_worker = node.offer.widest_worker;
  info.memory_bytes = node.offer.memory_bytes;
  info.cpuset = node.offer.cpuset;
  info.gpus = node.offer.gpus;
  info.addresses = node.offer.addresses;
  if (node.connected) {
    info.free_cores = node.free_cores();
    info.free_memory_bytes = node.free_memory();
    info.free_gpus = node.free_gpus();
    info.warm_executors = node.warm_executors;
  }
  info.state = to_string(state_of(node));
  info.clock_ahead = node.offer.clock_ahead;
  info.clock_error = node.offer.clock_error;
  info.heartbeat_age = std::max(milliseconds(0), milliseconds(now - node.heard));
  return info;
}

NodeTable::State NodeTable::state_of(const Node& node) {
  if (!node.connected) return State::kLost;
  return node.draining ? State::kDraining : State::kUp;
}

const char* to_string(NodeTable::State state) noexcept {
  switch (state) {
    case NodeTable::State::kUp:
      return "up";
    case NodeTable::State::kDraining:
      return "draining";
    case NodeTable::State::kLost:
      break;
  }
  return "lost";
}

std::vector<NodeTable::Load> NodeTable::loads() const {
  std::vector<Load> loads;
  loads.reserve(nodes_.size());
  for (const auto& [number, node] : nodes_) {
    loads.push_back({number, node.offer.name, state_of(node), node.offer.cores,
                     node.offer.cores - node.free_cores(), node.offer.memory_bytes,
                     node.offer.memory_bytes - node.free_memory(), node.gpus(),
                     node.gpus() - node.free_gpus(), node.warm_executors, node.heard,
                     node.offer.clock_ahead});
  }
  std::sort(loads.begin(), loads.end(), [](const Load& a, const Load& b) {
    return std::tie(a.name, a.node) < std::tie(b.name, b.node);
  });
  return loads;
}

Result<std::vector<NodeNumber>> NodeTable::named(const std::string& name) const {
  constexpr std::size_t kNamed = 20;
  std::vector<NodeNumber> found;
  std::set<std::string> names;
  for (const auto& [number, node] : nodes_) {
    if (node.offer.name == name) found.push_back(number);
    if (names.size() <= kNamed) names.insert(node.offer.name);
  }
  if (!found.empty()) return found;
  std::string known;
  for (const std::string& other : names) known += (known.empty() ? "" : ", ") + other;
  if (names.size() > kNamed) known += ", ...";
  return fail(ErrorKind::kInvalid, "no node is named '" + name + "'; there " +
                                       (known.empty() ? "is none" : "are: " + known));
}

std::optional<NodeNumber> NodeTable::find(const std::string& node_id) const {
  const auto node = ids_.find(node_id);
  if (node == ids_.end()) return std::nullopt;
  return node->second;
}

const NodeOffer* NodeTable::offer(NodeNumber number) const {
  const Node* const node = known(number);
  return node == nullptr ? nullptr : &node->offer;
}

const NodeOffer* NodeTable::gpu_owner(const std::string& uuid, const std::string& name) const {
  const auto owner = gpu_owners_.find(uuid);
  if (owner == gpu_owners_.end()) return nullptr;
  const Node* const node = known(owner->second);
  if (node == nullptr || node->offer.name == name) return nullptr;
  return node->connected || node->used_gpus > 0 ? &node->offer : nullptr;
}

bool NodeTable::is_up(NodeNumber number) const {
  const Node* const node = known(number);
  return node != nullptr && node->connected;
}

bool NodeTable::is_draining(NodeNumber number) const {
  const Node* const node = known(number);
  return node != nullptr && node->draining;
}

Capacity NodeTable::free(NodeNumber number) const {
  const Node* const node = known(number);
  return node == nullptr ? Capacity{number} : capacity(number, *node);
}

Capacity NodeTable::capacity(NodeNumber number, const Node& node) {
  return {number, node.free_cores(), node.free_memory(), node.offer.widest_worker,
          node.free_gpus()};
}

std::vector<Capacity> NodeTable::available(const std::set<NodeNumber>& excluded) const {
  std::vector<Capacity> capacities;
  for (const auto& [number, node] : nodes_) {
    if (!node.connected || node.draining || excluded.contains(number)) continue;
    capacities.push_back(capacity(number, node));
  }
  return capacities;
}

std::vector<Capacity> NodeTable::when_empty() const {
  std::vector<Capacity> capacities;
  for (const auto& [number, node] : nodes_) {
    if (!node.connected || node.draining) continue;
    capacities.push_back(
        {number, node.offer.cores, node.offer.memory_bytes, node.offer.widest_worker, node.gpus()});
  }
  return capacities;
}

std::vector<Capacity> NodeTable::likely(const LeaseRequest& request,
                                        std::optional<NodeNumber> own_node,
                                        const std::set<NodeNumber>& excluded) const {
  // Some more, since the first may lack memory.
  constexpr std::size_t kMore = 16;
  const std::uint64_t workers = std::uint64_t{request.cores} * request.parts;
  const std::uint64_t cores = workers * request.cores_per_worker;
  std::vector<Capacity> found;
  if (cores > std::numeric_limits<std::uint32_t>::max()) return found;
  const auto add = [&](NodeNumber number, std::uint64_t gpus) {
    const Node& node = nodes_.at(number);
    if (excluded.contains(number) || node.free_gpus() < gpus) return;
    found.push_back(capacity(number, node));
  };
  if (request.placement == Placement::kSpread) {
    for (auto at = by_free_cores_.rbegin();
         at != by_free_cores_.rend() && found.size() < workers + kMore; ++at) {
      add(at->second, request.gpus_per_worker);
    }
    return found;
  }
  const bool near = request.placement == Placement::kNear && own_node;
  std::uint64_t left = cores;  // for others than its own node
  if (const Node* own = near ? known(*own_node) : nullptr;
      own != nullptr && own->indexed != 0 && !excluded.contains(*own_node) &&
      own->free_gpus() >= request.gpus_per_worker) {
    add(*own_node, request.gpus_per_worker);
    std::uint64_t taken = own->indexed;
    if (request.gpus_per_worker != 0) {
      const std::uint64_t by_gpus = own->free_gpus() / request.gpus_per_worker;
      taken = std::min(taken, by_gpus * request.cores_per_worker);
    }
    left -= std::min(left, taken);
  }
  // One of these alone has room for the rest.
  const std::uint64_t rest = (left + request.cores_per_worker - 1) / request.cores_per_worker;
  for (auto at = by_free_cores_.lower_bound({static_cast<std::uint32_t>(left), NodeNumber{}});
       at != by_free_cores_.end() && found.size() < kMore; ++at) {
    if (!near || at->second != *own_node) add(at->second, rest * request.gpus_per_worker);
  }
  return found;
}

const std::set<GrantKey>& NodeTable::grants(NodeNumber number) const {
  static const std::set<GrantKey> kNone;
  const Node* const node = known(number);
  return node == nullptr ? kNone : node->grants;
}

}  // namespace sublet::manager
