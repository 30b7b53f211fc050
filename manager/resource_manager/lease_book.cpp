#include <resource_manager/lease_book.hpp>
#include <resource_manager/refusal_text.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace sublet::manager {

namespace {

/// Of an end of which nobody has said more.
const char* reason_of(GrantEnd how) {
  switch (how) {
    case GrantEnd::kReported:
      break;
    case GrantEnd::kNotHeld:
      return "its node does not hold it any more";
    case GrantEnd::kNodeLeft:
      return "its node left";
    case GrantEnd::kNodeLost:
      return "its node was silent for too long";
  }
  return "its node said so";
}

std::int64_t ms_of(double seconds) {
  constexpr double kMostMs = 1e15;
  return std::llround(std::clamp(seconds * 1000, 0.0, kMostMs));
}

std::int64_t core_ms(const Usage& usage) {
  return ms_of(usage.core_seconds);
}

/// What `now` has more than `before`. A node may say anything.
Usage growth(const Usage& before, const Usage& now) {
  const auto more = [](std::uint64_t from, std::uint64_t to) { return to > from ? to - from : 0; };
  const auto more_seconds = [](double from, double to) {
    return static_cast<double>(std::max<std::int64_t>(0, ms_of(to) - ms_of(from))) * 1e-3;
  };
  return {more(before.invocations, now.invocations),
          more(before.compute_ns, now.compute_ns),
          more(before.hot_poll_ns, now.hot_poll_ns),
          more(before.bytes_in, now.bytes_in),
          more(before.bytes_out, now.bytes_out),
          more_seconds(before.core_seconds, now.core_seconds),
          more_seconds(before.gpu_seconds, now.gpu_seconds)};
}

}  // namespace

const char* to_string(GrantEnd how) noexcept {
  switch (how) {
    case GrantEnd::kReported:
      return "reported";
    case GrantEnd::kNotHeld:
      return "not held";
    case GrantEnd::kNodeLeft:
      return "node left";
    case GrantEnd::kNodeLost:
      return "node lost";
  }
  return "unknown";
}

LeaseBook::LeaseBook(const Limits& limits, LeaseId first_lease, Random random)
    : nodes_(limits.nodes), grants_(limits.grants, first_lease, std::move(random)) {}

// ---- nodes ----

std::vector<std::string> LeaseBook::restore(const std::vector<OpenGrant>& grants, Time now) {
  std::vector<std::string> notes;
  note_time(now);
  for (const OpenGrant& grant : grants) {
    auto number = Result<NodeNumber>(NodeNumber{});
    if (const auto known = nodes_.find(grant.node.node_id)) {
      number = *known;
    } else {
      number = nodes_.join(grant.node, now);
      if (number) nodes_.disconnect(*number, now);
    }
    if (!number) {
      notes.push_back(std::string("a node is left out: ") + number.error().what());
      continue;
    }
    GrantTerms terms = grant.terms;
    terms.key.node = *number;
    if (grants_.find(terms.key) != nullptr || !grants_.room_for(1)) {
      notes.push_back(name_of(terms.key) + " is left out: there is no room for it");
      continue;
    }
    GrantRecord& record =
        insert(terms, terms.claimed ? GrantState::kClaimed : GrantState::kGranted, now);
    record.held = true;
    record.usage = grant.usage;
  }
  return notes;
}

Result<LeaseBook::Registration> LeaseBook::register_node(const NodeOffer& offer,
                                                         std::vector<GrantTerms> held, Time now,
                                                         std::vector<EndedGrant> ended_grants) {
  note_time(now);
  Registration registration;
  const auto number = nodes_.join(with_own_gpus(offer, registration), now);
  if (!number) return tl::unexpected<Error>(number.error());
  freed_ = true;
  for (EndedGrant& grant : ended_grants) ended(*number, std::move(grant));
  registration.node = *number;
  std::map<GrantKey, GrantTerms> by_key;
  for (GrantTerms& terms : held) {
    terms.key.node = *number;
    const GrantKey key = terms.key;
    if (!by_key.emplace(key, std::move(terms)).second) {
      registration.notes.push_back("node " + offer.name + " names " + name_of(key) + " twice");
    }
  }
  reconcile(*number, by_key, registration, now);
  adopt(*number, by_key, registration, now);
  return registration;
}

/// A GPU that another node offers already stays that node's.
NodeOffer LeaseBook::with_own_gpus(const NodeOffer& offer, Registration& registration) const {
  NodeOffer own = offer;
  std::set<std::string> seen;
  std::erase_if(own.gpus, [&](const GpuInfo& gpu) {
    if (!seen.insert(gpu.uuid).second) return true;
    const NodeOffer* const other = nodes_.gpu_owner(gpu.uuid, offer.name);
    if (other == nullptr) return false;
    registration.notes.push_back("node " + offer.name + " offers " + gpu.uuid + ", which is node " +
                                 other->name + "'s; start one of the two with --gpus none");
    return true;
  });
  return own;
}

/// Compares what the book knows of the node with what the node says it holds.
void LeaseBook::reconcile(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
                          Registration& registration, Time now) {
  const std::set<GrantKey> known = nodes_.grants(number);
  for (const GrantKey& key : known) {
    const auto said = held.find(key);
    if (said == held.end()) {
      remove(key, {.how = GrantEnd::kNotHeld});
      continue;
    }
    GrantRecord& grant = *grants_.find(key);
    const GrantTerms& terms = said->second;
    const auto revoke = [&](GrantState next, const std::string& reason) {
      registration.revocations.push_back(GrantTable::revoke(grant, next, reason, now));
    };
    note_held(grant);
    // One that a manager before this one had no time to write down.
    if (grant.state != GrantState::kNoticed) {
      grants_.note_expiry(grant, terms.expires);
      (void)account_expiry(grant);
    }
    if (grant.terms.workers != terms.workers ||
        grant.terms.cores_per_worker != terms.cores_per_worker ||
        grant.terms.gpus_per_worker != terms.gpus_per_worker ||
        !same_token(grant.terms.token, terms.token)) {
      registration.notes.push_back("node " + nodes_.offer(number)->name + " holds " + name_of(key) +
                                   " on other terms than it was given");
      revoke(GrantState::kEnding, "the terms of the grant do not match");
    } else if (grant.state == GrantState::kEnding) {
      revoke(GrantState::kEnding, grant.reason);
    } else if (grant.state == GrantState::kNoticed) {
      registration.revocations.push_back(GrantTable::notice_again(grant, now));
    } else if (terms.claimed) {
      note_claimed(grant);
    } else if (grant.state == GrantState::kLapsing) {
      revoke(GrantState::kLapsing, grant.reason);
    } else {
      grant.state = GrantState::kGranted;
    }
  }
}

/// Takes over grants that the node holds and the book does not know.
void LeaseBook::adopt(NodeNumber number, const std::map<GrantKey, GrantTerms>& held,
                      Registration& registration, Time now) {
  for (const auto& [key, terms] : held) {
    if (grants_.find(key) != nullptr) continue;
    if (const auto why = why_not_adopt(terms, now)) {
      registration.notes.push_back("node " + nodes_.offer(number)->name + " claims to hold " +
                                   name_of(key) + ": " + *why + "; it is revoked");
      registration.revocations.push_back({key, false, *why});
      continue;
    }
    GrantRecord& grant = insert(terms, GrantState::kGranted, now);
    note_held(grant);
    if (terms.claimed) note_claimed(grant);
  }
}

std::optional<std::string> LeaseBook::why_not_adopt(const GrantTerms& terms, Time now) const {
  if (auto why = grants_.why_not_adopt(terms, now)) return why;
  const Capacity free = nodes_.free(terms.key.node);
  if (terms.cores() == 0 || terms.cores() > free.cores) {
    return "its " + std::to_string(terms.cores()) + " cores are more than the " +
           std::to_string(free.cores) + " that the node has beside its other grants";
  }
  if (terms.gpus() > free.gpus) {
    return "its " + std::to_string(terms.gpus()) + " GPUs are more than the " +
           std::to_string(free.gpus) + " that the node has beside its other grants";
  }
  if (terms.memory_bytes > free.memory_bytes) {
    return "its " + bytes_text(terms.memory_bytes) + " are more than the " +
           bytes_text(free.memory_bytes) + " that the node has beside its other grants";
  }
  return std::nullopt;
}

void LeaseBook::node_left(NodeNumber number) {
  remove_all(number, GrantEnd::kNodeLeft);
  nodes_.forget(number);
}

std::optional<std::size_t> LeaseBook::forget_lost(NodeNumber number) {
  if (nodes_.offer(number) == nullptr || nodes_.is_up(number)) return std::nullopt;
  const std::size_t leases = remove_all(number, GrantEnd::kNodeLost);
  nodes_.forget(number);
  return leases;
}

void LeaseBook::excuse_silence(milliseconds time) {
  nodes_.excuse_silence(time);
}

LeaseBook::Due LeaseBook::tick(Time now) {
  note_time(now);
  Due due;
  for (const NodeTable::Silent& silent : nodes_.write_off_silent(now)) {
    due.notes.push_back("node " + nodes_.offer(silent.node)->name + " has been silent for " +
                        std::to_string(silent.silence.count()) + " ms: it is lost, with " +
                        std::to_string(nodes_.grants(silent.node).size()) + " grants");
    due.lost.push_back({silent.node, remove_all(silent.node, GrantEnd::kNodeLost)});
  }
  nodes_.forget_lost(now);
  due.revocations = grants_.review(now, [this](NodeNumber node) { return nodes_.is_up(node); });
  return due;
}

// ---- grants ----

Result<std::vector<GrantTerms>> LeaseBook::reserve(const LeaseRequest& request,
                                                   const Requester& requester, Time now,
                                                   const std::set<NodeNumber>& excluded, Look look,
                                                   std::optional<LeaseId> wanted_number) {
  note_time(now);
  const auto own_node = nodes_.find(requester.node_id);
  auto shares = wire::place(request, own_node, nodes_.likely(request, own_node, excluded));
  if (!shares && look == Look::kLikely) {
    return fail(ErrorKind::kOverloaded, "no likely node has room");
  }
  if (!shares) shares = wire::place(request, own_node, nodes_.available(excluded));
  if (!shares) {
    return fail(ErrorKind::kOverloaded, refusal_text(request, nodes_.views(now)));
  }
  if (auto room = grants_.room_for(shares->size()); !room) {
    return tl::unexpected<Error>(std::move(room.error()));
  }
  const LeaseId id = wanted_number ? *wanted_number : grants_.new_lease();
  std::vector<GrantTerms> grants;
  for (const wire::Share& share : *shares) {
    GrantTerms terms;
    terms.key = {id, share.part, share.node};
    terms.workers = share.workers;
    terms.cores_per_worker = request.cores_per_worker;
    terms.gpus_per_worker = request.gpus_per_worker;
    terms.memory_bytes = share.memory_bytes;
    terms.token = grants_.new_token();
    terms.expires = now + request.duration;
    terms.hot_timeout_ms = request.hot_timeout.count();
    terms.slots = request.slots;
    terms.arena_bytes = request.arena_bytes;
    terms.owner = requester.owner;
    terms.owner_uid = requester.caller.uid;
    terms.owner_by_key = requester.caller.proof == Proof::kKey;
    terms.slurm_job = requester.slurm_job;
    terms.priority = request.priority;
    terms.notice = request.notice;
    insert(terms, GrantState::kReserved, now);
    grants.push_back(std::move(terms));
  }
  return grants;
}

void LeaseBook::confirmed(const GrantKey& key, Time now) {
  GrantRecord* const grant = grants_.find(key);
  if (grant == nullptr) return;
  note_held(*grant);
  if (grant->state != GrantState::kReserved) return;
  grant->state = GrantState::kGranted;
  grant->since = now;
}

void LeaseBook::refused(const GrantKey& key) {
  if (grants_.find(key) != nullptr) remove(key, {.how = GrantEnd::kNotHeld});
}

void LeaseBook::claimed(const GrantKey& key) {
  GrantRecord* const grant = grants_.find(key);
  if (grant == nullptr || grant->state == GrantState::kEnding ||
      grant->state == GrantState::kNoticed) {
    return;
  }
  note_held(*grant);
  note_claimed(*grant);
}

void LeaseBook::ended(const GrantKey& key, const Usage& usage, const std::string& reason,
                      milliseconds ago) {
  GrantRecord* const grant = grants_.find(key);
  if (grant == nullptr) return;
  note_held(*grant);
  note_usage(*grant, usage);
  remove(key, {.how = GrantEnd::kReported, .reason = reason, .ago = ago});
}

void LeaseBook::ended(NodeNumber node, EndedGrant told) {
  told.terms.key.node = node;
  const GrantKey key = told.terms.key;
  if (const GrantRecord* const grant = grants_.find(key);
      grant != nullptr && same_token(grant->terms.token, told.terms.token)) {
    ended(key, told.usage, told.reason, told.ago);
    return;
  }
  // It was granted and ended while nobody listened, or has been told before: then a ledger has told
  // what its user has used.
  if (!grants_.is_gone(told.terms)) {
    ++totals_.granted;
    totals_.claimed += told.terms.claimed ? 1 : 0;
    ++totals_.ended.at(static_cast<std::size_t>(GrantEnd::kReported));
    totals_.used += growth({}, told.usage);
  }
  if (observer_ == nullptr) {
    if (!grants_.is_gone(told.terms)) accounts_.used(told.terms.owner_uid, core_ms(told.usage));
    return;
  }
  observer_->granted(on_node(told.terms));
  if (told.terms.claimed) observer_->claimed(on_node(told.terms));
  observer_->ended(on_node(told.terms), told.usage,
                   {.how = GrantEnd::kReported, .reason = told.reason, .ago = told.ago});
}

Result<LeaseBook::Extension> LeaseBook::extend(LeaseId lease, std::span<const std::byte> token,
                                               milliseconds duration, Time now) {
  note_time(now);
  auto extension = grants_.extend(lease, token, duration, now);
  if (!extension) return extension;
  for (const GrantKey& key : extension->grants) note_expiry(*grants_.find(key));
  return extension;
}

Result<std::vector<Revocation>> LeaseBook::release(LeaseId lease, const std::string& reason,
                                                   Time now, bool notice) {
  note_time(now);
  auto revocations = grants_.release(lease, reason, now, notice);
  if (!revocations) return revocations;
  for (const Revocation& revocation : *revocations) {
    if (revocation.left) note_expiry(*grants_.find(revocation.key));
  }
  return revocations;
}

void LeaseBook::usage(const GrantKey& key, const Usage& usage) {
  GrantRecord* const grant = grants_.find(key);
  if (grant == nullptr) return;
  note_held(*grant);
  note_usage(*grant, usage);
  if (observer_ != nullptr) observer_->used(on_node(grant->terms), usage);
}

// ---- both tables, and the observer ----

GrantRecord& LeaseBook::insert(const GrantTerms& terms, GrantState state, Time now) {
  nodes_.take(terms);
  accounts_.take(terms.owner_uid, terms.cores(), terms.expires, now);
  return grants_.insert(terms, nodes_.offer(terms.key.node)->name, state, now);
}

void LeaseBook::remove(const GrantKey& key, GrantEnding ending) {
  const GrantRecord* const there = grants_.find(key);
  if (ending.reason.empty()) ending.reason = there->reason;
  const GrantRecord grant =
      grants_.remove(key, ending.how == GrantEnd::kNodeLost,
                     ending.reason.empty() ? reason_of(ending.how) : ending.reason);
  nodes_.give_back(grant.terms);
  accounts_.give_back(grant.terms.owner_uid, grant.terms.cores(), grant.accounted, latest_);
  freed_ = true;
  if (!grant.held) return;
  ++totals_.ended.at(static_cast<std::size_t>(ending.how));
  if (observer_ == nullptr) return;
  observer_->ended(on_node(grant.terms), grant.usage, ending);
}

std::size_t LeaseBook::remove_all(NodeNumber node, GrantEnd how) {
  const std::set<GrantKey> grants = nodes_.grants(node);
  std::set<LeaseId> leases;
  for (const GrantKey& key : grants) {
    leases.insert(key.lease);
    remove(key, {.how = how});
  }
  return leases.size();
}

void LeaseBook::note_held(GrantRecord& grant) {
  if (std::exchange(grant.held, true)) return;
  ++totals_.granted;
  if (observer_ != nullptr) observer_->granted(on_node(grant.terms));
}

void LeaseBook::note_claimed(GrantRecord& grant) {
  if (std::exchange(grant.state, GrantState::kClaimed) == GrantState::kClaimed) return;
  ++totals_.claimed;
  if (observer_ != nullptr) observer_->claimed(on_node(grant.terms));
}

void LeaseBook::note_usage(GrantRecord& grant, const Usage& usage) {
  accounts_.used(grant.terms.owner_uid,
                 std::max<std::int64_t>(0, core_ms(usage) - core_ms(grant.usage)));
  totals_.used += growth(grant.usage, usage);
  grant.usage = usage;
}

void LeaseBook::note_used(std::uint32_t uid, std::int64_t core_ms, Time now) {
  note_time(now);
  accounts_.used(uid, core_ms);
}

/// True when the grant has another time to end than its owner's account knew.
bool LeaseBook::account_expiry(GrantRecord& grant) {
  const Time before = std::exchange(grant.accounted, grant.terms.expires);
  if (grant.terms.expires == before) return false;
  accounts_.extended(grant.terms.owner_uid, grant.terms.cores(), before, grant.terms.expires);
  return true;
}

void LeaseBook::note_expiry(GrantRecord& grant) {
  if (!account_expiry(grant)) return;
  if (observer_ != nullptr && grant.held) observer_->extended(on_node(grant.terms));
}

void LeaseBook::note_time(Time now) {
  latest_ = std::max(latest_, now);
  if (!accounts_.begin_day(latest_)) return;
  grants_.for_each([this](const GrantRecord& grant) {
    accounts_.promise(grant.terms.owner_uid, grant.terms.cores(), grant.terms.expires);
  });
  accounts_.forget_idle(latest_);
}

GrantOnNode LeaseBook::on_node(const GrantTerms& terms) const {
  return {terms, *nodes_.offer(terms.key.node)};
}

}  // namespace sublet::manager
