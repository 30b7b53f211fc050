#include <resource_manager/grant_table.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {

GrantTable::GrantTable(const Limits& limits, LeaseId first_lease, Random random)
    : limits_(limits), next_lease_(number(first_lease)), random_(std::move(random)) {}

LeaseId GrantTable::new_lease() {
  while (leases_.contains(LeaseId{next_lease_})) ++next_lease_;
  return LeaseId{next_lease_++};
}

Token GrantTable::new_token() {
  Token token{};
  do {
    random_(std::as_writable_bytes(std::span(token)));
  } while (tokens_.contains(token));
  return token;
}

Result<void> GrantTable::room_for(std::size_t grants) const {
  if (live_ + grants <= limits_.live) return {};
  return fail(ErrorKind::kOverloaded,
              "this manager keeps no more than " + std::to_string(limits_.live) + " grants");
}

GrantRecord& GrantTable::insert(const GrantTerms& terms, const std::string& node_name,
                                GrantState state, Time now) {
  const auto [position, is_new] = leases_.try_emplace(terms.key.lease);
  Lease& lease = position->second;
  if (is_new) {
    lease.owner = terms.owner;
    lease.owner_uid = terms.owner_uid;
    lease.slurm_job = terms.slurm_job;
    lease.priority = terms.priority;
    lease.notice = terms.notice;
  } else if (lease.grants.empty()) {
    std::erase(ended_, terms.key.lease);
  }
  // A grant that comes back was counted when it was first given.
  if (lease.lost.erase(terms.token) == 0) {
    lease.cores += terms.cores();
    lease.gpus += terms.gpus();
  }
  lease.expires = std::max(lease.expires, terms.expires);
  lease.node_names.insert(node_name);
  GrantRecord record;
  record.terms = terms;
  record.state = state;
  record.since = now;
  record.accounted = terms.expires;
  tokens_.emplace(terms.token, terms.key);
  ++live_;
  return lease.grants.emplace(place_of(terms.key), std::move(record)).first->second;
}

GrantRecord GrantTable::remove(const GrantKey& key, bool may_return, const std::string& reason) {
  Lease& lease = leases_.at(key.lease);
  auto node = lease.grants.extract(place_of(key));
  GrantRecord grant = std::move(node.mapped());
  tokens_.erase(grant.terms.token);
  if (may_return) {
    lease.lost.emplace(grant.terms.token, grant.usage);
  } else {
    lease.past += grant.usage;
    lease.gone.insert(grant.terms.token);
  }
  --live_;
  lease.reason = reason;
  if (lease.grants.empty()) retire(key.lease);
  return grant;
}

void GrantTable::retire(LeaseId id) {
  if (leases_.at(id).withdrawn) {
    leases_.erase(id);
    return;
  }
  ended_.push_back(id);
  while (ended_.size() > limits_.ended_leases) {
    leases_.erase(ended_.front());
    ended_.pop_front();
  }
}

GrantRecord* GrantTable::find(const GrantKey& key) {
  return const_cast<GrantRecord*>(std::as_const(*this).find(key));
}

const GrantRecord* GrantTable::find(const GrantKey& key) const {
  const auto lease = leases_.find(key.lease);
  if (lease == leases_.end()) return nullptr;
  const auto grant = lease->second.grants.find(place_of(key));
  return grant == lease->second.grants.end() ? nullptr : &grant->second;
}

// ---- ends and extensions ----

Revocation GrantTable::revoke(GrantRecord& grant, GrantState next, const std::string& reason,
                              Time now) {
  grant.state = next;
  grant.reason = reason;
  grant.revoke_sent = now;
  return {grant.terms.key, next == GrantState::kLapsing, reason};
}

std::vector<Revocation> GrantTable::withdraw(LeaseId id, Time now) {
  std::vector<Revocation> revocations;
  const auto lease = leases_.find(id);
  if (lease == leases_.end()) return revocations;
  lease->second.withdrawn = true;
  for (auto& [place, grant] : lease->second.grants) {
    revocations.push_back(revoke(grant, GrantState::kEnding, "the lease was not granted", now));
  }
  return revocations;
}

std::vector<Revocation> GrantTable::handle_dropped(LeaseId id, Time now) {
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

Result<std::vector<Revocation>> GrantTable::release(LeaseId id, const std::string& reason, Time now,
                                                    bool notice) {
  const auto lease = leases_.find(id);
  if (lease == leases_.end() || lease->second.withdrawn) {
    return fail(ErrorKind::kInvalid, "no lease has the number " + std::to_string(number(id)) +
                                         ": there was none, or it ended long ago; "
                                         "`sublet leases` lists them");
  }
  if (lease->second.grants.empty()) {
    return fail(ErrorKind::kInvalid, "lease " + std::to_string(number(id)) + " has ended already");
  }
  std::vector<Revocation> revocations;
  Time last = now;
  for (auto& [place, grant] : lease->second.grants) {
    const bool is_told = grant.state == GrantState::kClaimed || grant.state == GrantState::kNoticed;
    if (!notice || !is_told) {
      revocations.push_back(revoke(grant, GrantState::kEnding, reason, now));
      continue;
    }
    grant.state = GrantState::kNoticed;
    grant.reason = reason;
    grant.terms.expires = std::min(grant.terms.expires, now + grant.terms.notice);
    last = std::max(last, grant.terms.expires);
    revocations.push_back(notice_again(grant, now));
  }
  if (notice) lease->second.expires = last;
  return revocations;
}

Revocation GrantTable::notice_again(const GrantRecord& grant, Time now) {
  const milliseconds left = std::max(milliseconds(0), milliseconds(grant.terms.expires - now));
  return {grant.terms.key, false, grant.reason, left};
}

Result<GrantTable::Extension> GrantTable::extend(LeaseId id, std::span<const std::byte> token,
                                                 milliseconds duration, Time now) {
  const auto lease = leases_.find(id);
  bool right = false;
  if (lease != leases_.end()) {
    for (const auto& [place, grant] : lease->second.grants) {
      right |= same_token(std::as_bytes(std::span(grant.terms.token)), token);
    }
  }
  if (!right) {
    return fail(ErrorKind::kDenied, "lease " + std::to_string(number(id)) +
                                        " is not extended: it has ended, or the token is not one "
                                        "of its grants'");
  }
  Lease& record = lease->second;
  for (const auto& [place, grant] : record.grants) {
    if (grant.state != GrantState::kNoticed) continue;
    return fail(ErrorKind::kDenied, "lease " + std::to_string(number(id)) +
                                        " is not extended: it is being ended, because " +
                                        grant.reason);
  }
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

void GrantTable::note_expiry(GrantRecord& grant, Time expires) {
  Lease& lease = leases_.at(grant.terms.key.lease);
  grant.terms.expires = std::max(grant.terms.expires, expires);
  lease.expires = std::max(lease.expires, expires);
}

std::vector<Revocation> GrantTable::review(Time now, const std::function<bool(NodeNumber)>& is_up) {
  std::vector<Revocation> revocations;
  for (auto& [id, lease] : leases_) {
    for (auto& [place, grant] : lease.grants) {
      if (!is_up(grant.terms.key.node)) continue;
      if (auto revocation = review(grant, now)) revocations.push_back(std::move(*revocation));
    }
  }
  return revocations;
}

std::optional<Revocation> GrantTable::review(GrantRecord& grant, Time now) const {
  switch (grant.state) {
    case GrantState::kReserved:
      break;  // its announcement has a deadline of its own
    case GrantState::kGranted:
      if (now > grant.since + limits_.claim_timeout + limits_.grace) {
        return revoke(grant, GrantState::kLapsing, "nobody claimed the grant in time", now);
      }
      break;
    case GrantState::kClaimed:
      if (now > grant.terms.expires + limits_.grace) {
        return revoke(grant, GrantState::kEnding, "the lease has expired", now);
      }
      break;
    case GrantState::kNoticed:
      if (now > grant.terms.expires + limits_.grace) {
        return revoke(grant, GrantState::kEnding, grant.reason, now);
      }
      break;
    case GrantState::kLapsing:
    case GrantState::kEnding:
      if (now > grant.revoke_sent + limits_.revoke_again) {
        return revoke(grant, grant.state, grant.reason, now);
      }
      break;
  }
  return std::nullopt;
}

// ---- looking ----

std::optional<std::string> GrantTable::why_not_adopt(const GrantTerms& terms, Time now) const {
  if (is_gone(terms)) return "the grant had ended before";
  if (tokens_.contains(terms.token)) return "another grant has the same token";
  if (now > terms.expires + limits_.grace) return "it has expired";
  if (live_ >= limits_.live) return "this manager keeps no more grants";
  return std::nullopt;
}

bool GrantTable::is_gone(const GrantTerms& terms) const {
  const auto lease = leases_.find(terms.key.lease);
  return lease != leases_.end() && lease->second.gone.contains(terms.token);
}

std::optional<GrantState> GrantTable::state(const GrantKey& key) const {
  const GrantRecord* const grant = find(key);
  if (grant == nullptr) return std::nullopt;
  return grant->state;
}

std::vector<LeaseInfo> GrantTable::leases(bool include_ended,
                                          std::optional<std::uint32_t> of) const {
  std::vector<LeaseInfo> views;
  LeaseInfo others;
  std::size_t number_of_others = 0;
  for (const auto& [id, lease] : leases_) {
    if (lease.withdrawn || (lease.grants.empty() && !include_ended)) continue;
    LeaseInfo info = view(id, lease);
    if (!of || lease.owner_uid == *of) {
      views.push_back(std::move(info));
      continue;
    }
    ++number_of_others;
    if (!lease.grants.empty()) {
      others.cores += info.cores;
      others.gpus += info.gpus;
    }
    others.usage += info.usage;
  }
  if (number_of_others == 0) return views;
  others.state = "active";
  others.priority = 0;
  others.owner = std::to_string(number_of_others) +
                 (number_of_others == 1 ? " lease of another user" : " leases of other users");
  views.push_back(std::move(others));
  return views;
}

std::optional<std::uint32_t> GrantTable::owner_uid(LeaseId lease) const {
  const auto known = leases_.find(lease);
  if (known == leases_.end()) return std::nullopt;
  return known->second.owner_uid;
}

std::optional<GrantTable::Extent> GrantTable::extent(LeaseId id) const {
  const auto lease = leases_.find(id);
  if (lease == leases_.end() || lease->second.grants.empty()) return std::nullopt;
  Extent extent{lease->second.owner_uid, 0, lease->second.expires};
  for (const auto& [place, grant] : lease->second.grants) extent.cores += grant.terms.cores();
  return extent;
}

LeaseInfo GrantTable::view(LeaseId id, const Lease& lease) {
  LeaseInfo info;
  info.id = number(id);
  info.owner = lease.owner;
  info.cores = lease.cores;
  info.gpus = lease.gpus;
  info.nodes.assign(lease.node_names.begin(), lease.node_names.end());
  info.expires_unix_ms = to_unix_ms(lease.expires);
  info.usage = lease.past;
  for (const auto& [token, used] : lease.lost) info.usage += used;
  info.uid = lease.owner_uid;
  info.slurm_job = lease.slurm_job;
  info.priority = lease.priority;
  info.notice = lease.notice;
  info.reason = lease.reason;
  bool claimed = false;
  bool ending = true;
  bool reserved = true;
  for (const auto& [place, grant] : lease.grants) {
    info.usage += grant.usage;
    claimed |= grant.state == GrantState::kClaimed;
    reserved &= grant.state == GrantState::kReserved;
    const bool ends = grant.state >= GrantState::kNoticed;
    ending &= ends;
    if (ends) info.reason = grant.reason;
  }
  if (!lease.grants.empty() && !ending) info.reason.clear();
  info.state = lease.grants.empty() ? "ended"
               : ending             ? "ending"
               : claimed            ? "active"
               : reserved           ? "reserved"
                                    : "granted";
  return info;
}

}  // namespace sublet::manager
