#include <resource_manager/node_table.hpp>

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
  node.offer = offer;
  if (offer.widest_worker == 0 || offer.widest_worker > offer.cores) {
    node.offer.widest_worker = offer.cores;
  }
  node.heard = now;
  node.connected = true;
  node.draining = false;
  node.written_off = false;
  return id->second;
}

bool NodeTable::heartbeat(NodeNumber number, Time now) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end() || !node->second.connected) return false;
  node->second.heard = now;
  return true;
}

void NodeTable::disconnect(NodeNumber number, Time now) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end() || !node->second.connected) return;
  node->second.connected = false;
  node->second.heard = now;
}

void NodeTable::set_draining(NodeNumber number, bool draining) {
  if (const auto node = nodes_.find(number); node != nodes_.end()) node->second.draining = draining;
}

void NodeTable::forget(NodeNumber number) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end()) return;
  ids_.erase(node->second.offer.node_id);
  nodes_.erase(node);
}

void NodeTable::take(const GrantTerms& terms) {
  Node& node = nodes_.at(terms.key.node);
  node.grants.insert(terms.key);
  node.used_cores += terms.cores();
  node.used_memory += terms.memory_bytes;
}

void NodeTable::give_back(const GrantTerms& terms) {
  Node& node = nodes_.at(terms.key.node);
  node.grants.erase(terms.key);
  node.used_cores -= terms.cores();
  node.used_memory -= terms.memory_bytes;
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
    silent.push_back({number, silence});
  }
  return silent;
}

void NodeTable::forget_lost(Time now) {
  std::erase_if(nodes_, [&](const auto& entry) {
    const Node& node = entry.second;
    if (!node.written_off || now - node.heard <= limits_.forget_after) return false;
    ids_.erase(node.offer.node_id);
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
  info.addresses = node.offer.addresses;
  if (node.connected) {
    info.free_cores = node.free_cores();
    info.free_memory_bytes = node.free_memory();
  }
  info.state = !node.connected ? "lost" : node.draining ? "draining" : "up";
  info.heartbeat_age = std::max(milliseconds(0), milliseconds(now - node.heard));
  return info;
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
  if (node == nullptr) return {number, 0, 0};
  return {number, node->free_cores(), node->free_memory(), node->offer.widest_worker};
}

std::vector<Capacity> NodeTable::available(const std::set<NodeNumber>& excluded) const {
  std::vector<Capacity> capacities;
  for (const auto& [number, node] : nodes_) {
    if (!node.connected || node.draining || excluded.contains(number)) continue;
    capacities.push_back({number, node.free_cores(), node.free_memory(), node.offer.widest_worker});
  }
  return capacities;
}

const std::set<GrantKey>& NodeTable::grants(NodeNumber number) const {
  static const std::set<GrantKey> kNone;
  const Node* const node = known(number);
  return node == nullptr ? kNone : node->grants;
}

}  // namespace sublet::manager
