#include <resource_manager/lease_book.hpp>
#include <resource_manager/refusal_text.hpp>

#include <sodium/utils.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace sublet::manager {
namespace {

constexpr std::size_t kMaxNodeName = 255;

template <class Key>
auto place_of(const Key& key) {
  return std::make_pair(key.part, key.node);
}

std::string name_of(const GrantKey& key) {
  return "lease " + std::to_string(static_cast<std::uint64_t>(key.lease)) + " part " +
         std::to_string(key.part);
}

}  // namespace

const char* to_string(LeaseState state) noexcept {
  switch (state) {
    case LeaseState::kGranted:
      return "granted";
    case LeaseState::kActive:
      return "active";
    case LeaseState::kEnding:
      return "ending";
    case LeaseState::kEnded:
      return "ended";
  }
  return "unknown";
}

LeaseBook::LeaseBook(Limits limits, LeaseId first_lease, Random random)
    : limits_(limits),
      next_lease_(static_cast<std::uint64_t>(first_lease)),
      random_(std::move(random)) {}

LeaseBook::GrantRecord* LeaseBook::find(const GrantKey& key) {
  return const_cast<GrantRecord*>(std::as_const(*this).find(key));
}

const LeaseBook::GrantRecord* LeaseBook::find(const GrantKey& key) const {
  const auto lease = leases_.find(key.lease);
  if (lease == leases_.end()) return nullptr;
  const auto grant = lease->second.grants.find(place_of(key));
  return grant == lease->second.grants.end() ? nullptr : &grant->second;
}

// ---- nodes
// ---------------------------------------------------------------------------------------

Result<void> LeaseBook::check_offer(const NodeOffer& offer) const {
  if (offer.name.empty() || offer.name.size() > kMaxNodeName || offer.node_id.empty() ||
      offer.node_id.size() > 2 * kMaxNodeName) {
    return fail(ErrorKind::kInvalid, "a node's name and id must have 1 to 255 bytes");
  }
  if (offer.cores == 0) {
    return fail(ErrorKind::kInvalid, "node " + offer.name + " offers no cores");
  }
  if (!node_ids_.contains(offer.node_id) && nodes_.size() >= limits_.nodes) {
    return fail(ErrorKind::kOverloaded, "node " + offer.name + " would be one more than the " +
                                            std::to_string(limits_.nodes) + " this manager keeps");
  }
  return {};
}

NodeNumber LeaseBook::number_of(const NodeOffer& offer) {
  const auto known = node_ids_.find(offer.node_id);
  if (known != node_ids_.end()) return known->second;
  const NodeNumber number{next_node_++};
  node_ids_.emplace(offer.node_id, number);
  return number;
}

Result<LeaseBook::Registration> LeaseBook::register_node(const NodeOffer& offer,
                                                         std::vector<GrantTerms> held, Time now) {
  if (auto ok = check_offer(offer); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  Registration registration;
  const NodeNumber number = number_of(offer);
  registration.node = number;
  NodeRecord& node = nodes_[number];
  node.offer = offer;
  node.heard = now;
  node.connected = true;
  node.draining = false;
  node.written_off = false;

  std::map<GrantKey, GrantTerms> by_key;
  for (GrantTerms& terms : held) {
    terms.key.node = number;
    const GrantKey key = terms.key;
    if (!by_key.emplace(key, std::move(terms)).second) {
      registration.notes.push_back("node " + offer.name + " names " + name_of(key) + " twice");
    }
  }
  reconcile(number, by_key, registration, now);
  adopt(number, by_key, registration, now);
  return registration;
}

/// Compares what the book knows of the node with what the node says it holds.
void LeaseBook::reconcile(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
                          Registration& registration, Time now) {
  const std::set<GrantKey> known = nodes_.at(number).grants;
  for (const GrantKey& key : known) {
    const auto said = held.find(key);
    if (said == held.end()) {
      remove(key, false);
      continue;
    }
    GrantRecord& grant = *find(key);
    if (grant.terms.cores != said->second.cores || grant.terms.token != said->second.token) {
      registration.notes.push_back("node " + nodes_.at(number).offer.name + " holds " +
                                   name_of(key) + " on other terms than it was given");
      registration.revocations.push_back(
          revoke(grant, GrantState::kEnding, "the terms of the grant do not match", now));
      continue;
    }
    if (grant.state == GrantState::kEnding) {
      registration.revocations.push_back(revoke(grant, GrantState::kEnding, grant.reason, now));
    } else if (said->second.claimed) {
      grant.state = GrantState::kClaimed;
    } else if (grant.state == GrantState::kLapsing) {
      registration.revocations.push_back(revoke(grant, GrantState::kLapsing, grant.reason, now));
    } else {
      grant.state = GrantState::kGranted;
    }
  }
}

/// Takes over grants that the node holds and the book does not know.
void LeaseBook::adopt(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
                      Registration& registration, Time now) {
  for (const auto& [key, terms] : held) {
    if (find(key) != nullptr) continue;
    const NodeRecord& node = nodes_.at(number);
    if (const auto why = why_not_adopt(node, terms, now)) {
      registration.notes.push_back("node " + node.offer.name + " claims to hold " + name_of(key) +
                                   ": " + *why + "; it is revoked");
      registration.revocations.push_back({key, false, *why});
      continue;
    }
    insert(terms, terms.claimed ? GrantState::kClaimed : GrantState::kGranted, now);
  }
}

std::optional<std::string> LeaseBook::why_not_adopt(const NodeRecord& node, const GrantTerms& terms,
                                                    Time now) const {
  const auto lease = leases_.find(terms.key.lease);
  if (lease != leases_.end() && lease->second.gone.contains(place_of(terms.key))) {
    return "the grant had ended before";
  }
  if (terms.cores == 0 || terms.cores > node.free_cores()) {
    return "its " + std::to_string(terms.cores) + " cores are more than the " +
           std::to_string(node.free_cores()) + " that the node has beside its other grants";
  }
  if (terms.memory_bytes > node.free_memory()) {
    return "its " + bytes_text(terms.memory_bytes) + " are more than the " +
           bytes_text(node.free_memory()) + " that the node has beside its other grants";
  }
  if (tokens_.contains(terms.token)) return "another grant has the same token";
  if (now > terms.expires + limits_.grace) return "it has expired";
  if (live_grants_ >= limits_.live_grants) return "this manager keeps no more grants";
  return std::nullopt;
}

bool LeaseBook::heartbeat(NodeNumber number, Time now) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end() || !node->second.connected) return false;
  node->second.heard = now;
  return true;
}

void LeaseBook::node_disconnected(NodeNumber number, Time now) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end() || !node->second.connected) return;
  node->second.connected = false;
  node->second.heard = now;
}

void LeaseBook::node_left(NodeNumber number) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end()) return;
  const std::set<GrantKey> grants = node->second.grants;
  for (const GrantKey& key : grants) remove(key, false);
  node_ids_.erase(node->second.offer.node_id);
  nodes_.erase(node);
}

void LeaseBook::write_off(NodeNumber number) {
  NodeRecord& node = nodes_.at(number);
  node.connected = false;
  node.written_off = true;
  const std::set<GrantKey> grants = node.grants;
  for (const GrantKey& key : grants) remove(key, true);
}

Result<std::vector<NodeNumber>> LeaseBook::nodes_named(const std::string& name) const {
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

void LeaseBook::set_draining(NodeNumber number, bool draining) {
  if (const auto node = nodes_.find(number); node != nodes_.end()) node->second.draining = draining;
}

// ---- grants
// --------------------------------------------------------------------------------------

void LeaseBook::insert(const GrantTerms& terms, GrantState state, Time now) {
  NodeRecord& node = nodes_.at(terms.key.node);
  const auto [position, is_new] = leases_.try_emplace(terms.key.lease);
  LeaseRecord& lease = position->second;
  if (is_new) {
    lease.owner = terms.owner;
  } else if (lease.grants.empty()) {
    std::erase(ended_, terms.key.lease);
  }
  // A grant that comes back was counted when it was first given.
  if (lease.lost.erase(place_of(terms.key)) == 0) lease.cores += terms.cores;
  lease.expires = std::max(lease.expires, terms.expires);
  lease.node_names.insert(node.offer.name);
  GrantRecord record;
  record.terms = terms;
  record.state = state;
  record.since = now;
  lease.grants.emplace(place_of(terms.key), std::move(record));
  tokens_.emplace(terms.token, terms.key);
  node.grants.insert(terms.key);
  node.used_cores += terms.cores;
  node.used_memory += terms.memory_bytes;
  ++live_grants_;
}

void LeaseBook::remove(const GrantKey& key, bool node_lost) {
  LeaseRecord& lease = leases_.at(key.lease);
  const auto position = lease.grants.find(place_of(key));
  const GrantTerms& terms = position->second.terms;
  NodeRecord& node = nodes_.at(key.node);
  node.used_cores -= terms.cores;
  node.used_memory -= terms.memory_bytes;
  node.grants.erase(key);
  tokens_.erase(terms.token);
  if (node_lost) {
    lease.lost.emplace(place_of(key), position->second.usage);
  } else {
    lease.past += position->second.usage;
    lease.gone.insert(place_of(key));
  }
  lease.grants.erase(position);
  --live_grants_;
  if (lease.grants.empty()) retire(key.lease);
}

void LeaseBook::retire(LeaseId id) {
  LeaseRecord& lease = leases_.at(id);
  if (lease.withdrawn) {
    leases_.erase(id);
    return;
  }
  ended_.push_back(id);
  while (ended_.size() > limits_.ended_leases) {
    leases_.erase(ended_.front());
    ended_.pop_front();
  }
}

Result<std::vector<GrantTerms>> LeaseBook::reserve(const LeaseAsk& ask, Time now,
                                                   const std::set<NodeNumber>& excluded) {
  std::vector<Capacity> free;
  for (const auto& [number, node] : nodes_) {
    if (!node.available() || excluded.contains(number)) continue;
    free.push_back({number, node.free_cores(), node.free_memory()});
  }
  PlacementAsk wanted;
  wanted.cores = ask.cores;
  wanted.parts = ask.parts;
  wanted.memory_bytes = ask.memory_bytes;
  wanted.placement = ask.placement;
  wanted.own_node = find_node(ask.client_node_id);
  const auto shares = place(wanted, free);
  if (!shares) return tl::unexpected<Error>(refusal(ask));
  if (live_grants_ + shares->size() > limits_.live_grants) {
    return fail(ErrorKind::kOverloaded, "this manager keeps no more than " +
                                            std::to_string(limits_.live_grants) + " grants");
  }
  while (leases_.contains(LeaseId{next_lease_})) ++next_lease_;
  const LeaseId id{next_lease_++};
  std::vector<GrantTerms> grants;
  for (const Share& share : *shares) {
    GrantTerms terms;
    terms.key = {id, share.part, share.node};
    terms.cores = share.cores;
    terms.memory_bytes = share.memory_bytes;
    do {
      random_(terms.token);
    } while (tokens_.contains(terms.token));
    terms.expires = now + ask.duration;
    terms.hot_timeout_ms = ask.hot_timeout_ms;
    terms.slots = ask.slots;
    terms.arena_bytes = ask.arena_bytes;
    terms.owner = ask.owner;
    terms.owner_uid = ask.owner_uid;
    insert(terms, GrantState::kReserved, now);
    grants.push_back(std::move(terms));
  }
  return grants;
}

Error LeaseBook::refusal(const LeaseAsk& ask) const {
  // The ages are not shown, so any time will do.
  return Error(ErrorKind::kOverloaded, refusal_text(ask, nodes(Time{})));
}

void LeaseBook::confirmed(const GrantKey& key, Time now) {
  GrantRecord* const grant = find(key);
  if (grant == nullptr || grant->state != GrantState::kReserved) return;
  grant->state = GrantState::kGranted;
  grant->since = now;
}

void LeaseBook::refused(const GrantKey& key) {
  if (find(key) != nullptr) remove(key, false);
}

void LeaseBook::claimed(const GrantKey& key) {
  GrantRecord* const grant = find(key);
  if (grant == nullptr || grant->state == GrantState::kEnding) return;
  grant->state = GrantState::kClaimed;
}

void LeaseBook::ended(const GrantKey& key, const UsageRecord& usage) {
  GrantRecord* const grant = find(key);
  if (grant == nullptr) return;
  grant->usage = usage;
  remove(key, false);
}

void LeaseBook::usage(const GrantKey& key, const UsageRecord& usage) {
  if (GrantRecord* const grant = find(key)) grant->usage = usage;
}

Revocation LeaseBook::revoke(GrantRecord& grant, GrantState next, const std::string& reason,
                             Time now) {
  grant.state = next;
  grant.reason = reason;
  grant.revoke_sent = now;
  return {grant.terms.key, next == GrantState::kLapsing, reason};
}

std::vector<Revocation> LeaseBook::withdraw(LeaseId id, Time now) {
  std::vector<Revocation> revocations;
  const auto lease = leases_.find(id);
  if (lease == leases_.end()) return revocations;
  lease->second.withdrawn = true;
  for (auto& [place, grant] : lease->second.grants) {
    revocations.push_back(revoke(grant, GrantState::kEnding, "the lease was not granted", now));
  }
  return revocations;
}

std::vector<Revocation> LeaseBook::handle_dropped(LeaseId id, Time now) {
  std::vector<Revocation> revocations;
  const auto lease = leases_.find(id);
  if (lease == leases_.end()) return revocations;
  for (auto& [place, grant] : lease->second.grants) {
    if (grant.state != GrantState::kGranted && grant.state != GrantState::kReserved) continue;
    revocations.push_back(
        revoke(grant, GrantState::kLapsing, "the client gave the lease back", now));
  }
  return revocations;
}

Result<LeaseBook::Extension> LeaseBook::extend(LeaseId id, std::span<const std::byte> token,
                                               milliseconds duration, Time now) {
  const auto lease = leases_.find(id);
  bool right = false;
  if (lease != leases_.end() && token.size() == wire::kTokenBytes) {
    for (const auto& [place, grant] : lease->second.grants) {
      right |= sodium_memcmp(grant.terms.token.data(), token.data(), token.size()) == 0;
    }
  }
  if (!right) {
    return fail(ErrorKind::kDenied, "lease " + std::to_string(static_cast<std::uint64_t>(id)) +
                                        " is not extended: it has ended, or the token is not one "
                                        "of its grants'");
  }
  LeaseRecord& record = lease->second;
  record.expires = std::max(record.expires, now + duration);
  Extension extension;
  extension.expires = record.expires;
  for (auto& [place, grant] : record.grants) {
    if (grant.state == GrantState::kEnding) continue;
    grant.terms.expires = record.expires;
    extension.grants.push_back(grant.terms.key);
  }
  return extension;
}

// ---- time
// ----------------------------------------------------------------------------------------

LeaseBook::Due LeaseBook::tick(Time now) {
  Due due;
  review_nodes(now, due);
  for (auto& [id, lease] : leases_) {
    for (auto& [place, grant] : lease.grants) review_grant(grant, now, due);
  }
  return due;
}

void LeaseBook::review_nodes(Time now, Due& due) {
  for (auto node = nodes_.begin(); node != nodes_.end();) {
    const milliseconds silent = now - node->second.heard;
    if (!node->second.written_off && silent > limits_.lost_after) {
      due.notes.push_back("node " + node->second.offer.name + " has been silent for " +
                          std::to_string(silent.count()) + " ms: it is lost, with " +
                          std::to_string(node->second.grants.size()) + " grants");
      write_off(node->first);
    }
    if (node->second.written_off && silent > limits_.forget_node_after) {
      node_ids_.erase(node->second.offer.node_id);
      node = nodes_.erase(node);
    } else {
      ++node;
    }
  }
}

void LeaseBook::review_grant(GrantRecord& grant, Time now, Due& due) const {
  if (!is_up(grant.terms.key.node)) return;
  switch (grant.state) {
    case GrantState::kReserved:
      break;  // its announcement has a deadline of its own
    case GrantState::kGranted:
      if (now > grant.since + limits_.claim_timeout + limits_.grace) {
        due.revocations.push_back(
            revoke(grant, GrantState::kLapsing, "nobody claimed the grant in time", now));
      }
      break;
    case GrantState::kClaimed:
      if (now > grant.terms.expires + limits_.grace) {
        due.revocations.push_back(revoke(grant, GrantState::kEnding, "the lease has expired", now));
      }
      break;
    case GrantState::kLapsing:
    case GrantState::kEnding:
      if (now > grant.revoke_sent + limits_.revoke_again) {
        due.revocations.push_back(revoke(grant, grant.state, grant.reason, now));
      }
      break;
  }
}

// ---- looking
// -------------------------------------------------------------------------------------

std::vector<NodeView> LeaseBook::nodes(Time now) const {
  std::vector<NodeView> views;
  for (const auto& [number, node] : nodes_) {
    NodeView view;
    view.number = number;
    view.offer = node.offer;
    if (node.connected) {
      view.free_cores = node.free_cores();
      view.free_memory_bytes = node.free_memory();
    }
    view.state = !node.connected ? "lost" : node.draining ? "draining" : "up";
    view.heartbeat_age = std::max(milliseconds(0), milliseconds(now - node.heard));
    views.push_back(std::move(view));
  }
  std::sort(views.begin(), views.end(), [](const NodeView& a, const NodeView& b) {
    return std::tie(a.offer.name, a.number) < std::tie(b.offer.name, b.number);
  });
  return views;
}

std::vector<LeaseView> LeaseBook::leases(bool include_ended) const {
  std::vector<LeaseView> views;
  for (const auto& [id, lease] : leases_) {
    if (lease.withdrawn || (lease.grants.empty() && !include_ended)) continue;
    LeaseView view;
    view.id = id;
    view.owner = lease.owner;
    view.cores = lease.cores;
    view.nodes.assign(lease.node_names.begin(), lease.node_names.end());
    view.expires = lease.expires;
    view.usage = lease.past;
    for (const auto& [place, used] : lease.lost) view.usage += used;
    bool claimed = false;
    bool ending = true;
    for (const auto& [place, grant] : lease.grants) {
      view.usage += grant.usage;
      claimed |= grant.state == GrantState::kClaimed;
      ending &= grant.state == GrantState::kEnding || grant.state == GrantState::kLapsing;
    }
    view.state = lease.grants.empty() ? LeaseState::kEnded
                 : ending             ? LeaseState::kEnding
                 : claimed            ? LeaseState::kActive
                                      : LeaseState::kGranted;
    views.push_back(std::move(view));
  }
  return views;
}

std::optional<NodeNumber> LeaseBook::find_node(const std::string& node_id) const {
  const auto node = node_ids_.find(node_id);
  if (node == node_ids_.end()) return std::nullopt;
  return node->second;
}

const NodeOffer* LeaseBook::offer(NodeNumber number) const {
  const auto node = nodes_.find(number);
  return node == nodes_.end() ? nullptr : &node->second.offer;
}

bool LeaseBook::is_up(NodeNumber number) const {
  const auto node = nodes_.find(number);
  return node != nodes_.end() && node->second.connected;
}

std::optional<GrantState> LeaseBook::state(const GrantKey& key) const {
  const GrantRecord* const grant = find(key);
  if (grant == nullptr) return std::nullopt;
  return grant->state;
}

std::vector<GrantTerms> LeaseBook::grants_of(NodeNumber number) const {
  std::vector<GrantTerms> grants;
  const auto node = nodes_.find(number);
  if (node == nodes_.end()) return grants;
  for (const GrantKey& key : node->second.grants) grants.push_back(find(key)->terms);
  return grants;
}

}  // namespace sublet::manager
