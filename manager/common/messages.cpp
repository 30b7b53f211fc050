#include <base/printable_text.hpp>
#include <common/messages.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <algorithm>
#include <cstring>

namespace sublet::manager {
namespace {

constexpr std::size_t kMaxName = 255;
constexpr std::size_t kMaxCpusetText = 16u << 10;

/// A time that has passed: clamped to what can be calculated with.
milliseconds read_ms(std::uint64_t ms) {
  constexpr std::uint64_t kLong = std::uint64_t{1} << 42;
  return milliseconds(static_cast<std::int64_t>(std::min(ms, kLong)));
}

}  // namespace

Time from_unix_ms(std::int64_t unix_ms) {
  constexpr std::int64_t kFar = std::int64_t{1} << 52;
  return Time(milliseconds(std::clamp<std::int64_t>(unix_ms, 0, kFar)));
}

// ---- grants ----

Grant to_grant(const GrantTerms& terms, const NodeOffer& node) {
  Grant grant;
  grant.lease_id = number(terms.key.lease);
  grant.part = terms.key.part;
  grant.cores = terms.workers;
  grant.cores_per_worker = terms.cores_per_worker;
  grant.gpus_per_worker = terms.gpus_per_worker;
  grant.slots = terms.slots;
  grant.arena_bytes = terms.arena_bytes;
  grant.node_name = node.name;
  grant.node_id = node.node_id;
  grant.addresses = node.addresses;
  grant.expires_unix_ms = to_unix_ms(terms.expires);
  return grant;
}

void write(wire::Grant::Builder to, const GrantTerms& terms) {
  wire::write(to, to_grant(terms, {}));
  to.setToken(wire::to_data(std::as_bytes(std::span(terms.token))));
  to.setMemoryBytes(terms.memory_bytes);
  to.setHotTimeoutMs(terms.hot_timeout_ms);
  to.setOwner(terms.owner);
  to.setOwnerUid(terms.owner_uid);
  to.setOwnerByKey(terms.owner_by_key);
  to.setClaimed(terms.claimed);
  to.setSlurmJob(terms.slurm_job);
  to.setPriority(terms.priority);
  to.setNoticeMs(static_cast<std::uint64_t>(std::max<milliseconds::rep>(0, terms.notice.count())));
  to.setHeldMs(static_cast<std::uint64_t>(std::max<milliseconds::rep>(0, terms.held_for.count())));
}

Result<GrantTerms> read_terms(wire::Grant::Reader from) {
  const auto grant = wire::read(from);
  if (!grant) return tl::unexpected<Error>(grant.error());
  if (grant->token.empty()) return fail(ErrorKind::kInvalid, "a grant has no token");
  GrantTerms terms;
  terms.key.lease = LeaseId{grant->lease_id};
  terms.key.part = grant->part;
  terms.workers = grant->cores;
  terms.cores_per_worker = grant->cores_per_worker;
  terms.gpus_per_worker = grant->gpus_per_worker;
  terms.memory_bytes = from.getMemoryBytes();
  std::memcpy(terms.token.data(), grant->token.data(), terms.token.size());
  terms.expires = from_unix_ms(grant->expires_unix_ms);
  terms.hot_timeout_ms = from.getHotTimeoutMs();
  terms.slots = grant->slots;
  terms.arena_bytes = grant->arena_bytes;
  terms.owner = wire::cut_text(wire::to_string(from.getOwner()), kMaxName);
  terms.owner_uid = from.getOwnerUid();
  terms.owner_by_key = from.getOwnerByKey();
  terms.claimed = from.getClaimed();
  terms.slurm_job = from.getSlurmJob();
  terms.priority = std::clamp(from.getPriority(), -wire::kMaxPriority, wire::kMaxPriority);
  terms.notice = std::min(read_ms(from.getNoticeMs()), milliseconds(wire::kMaxNotice));
  terms.held_for = read_ms(from.getHeldMs());
  if (terms.hot_timeout_ms < -1) {
    return fail(ErrorKind::kInvalid, "a grant's hot timeout is " +
                                         std::to_string(terms.hot_timeout_ms) +
                                         " ms; allowed are -1 and more");
  }
  return terms;
}

void write(wire::EndedGrant::Builder to, const EndedGrant& ended) {
  write(to.initGrant(), ended.terms);
  to.setReason(ended.reason);
  wire::write(to.initUsage(), ended.usage);
  to.setAgoMs(static_cast<std::uint64_t>(std::max<milliseconds::rep>(0, ended.ago.count())));
}

Result<EndedGrant> read(wire::EndedGrant::Reader from) {
  auto terms = read_terms(from.getGrant());
  if (!terms) return tl::unexpected<Error>(terms.error());
  EndedGrant ended;
  ended.terms = std::move(*terms);
  ended.reason = wire::cut_text(wire::to_string(from.getReason()), wire::kMaxText);
  ended.usage = wire::read(from.getUsage());
  ended.ago = read_ms(from.getAgoMs());
  return ended;
}

// ---- nodes ----

void write(wire::NodeDescription::Builder to, const NodeOffer& offer) {
  to.setName(offer.name);
  to.setNodeId(offer.node_id);
  to.setCores(offer.cores);
  to.setWidestWorker(offer.widest_worker);
  to.setMemoryBytes(offer.memory_bytes);
  to.setCpuset(offer.cpuset);
  wire::write(to.initGpus(static_cast<unsigned>(offer.gpus.size())), offer.gpus);
  to.setKey(wire::to_data(std::as_bytes(std::span(offer.key))));
  to.setClockAheadMs(offer.clock_ahead.count());
  to.setClockErrorMs(static_cast<std::uint32_t>(offer.clock_error.count()));
  auto addresses = to.initAddresses(static_cast<unsigned>(offer.addresses.size()));
  for (unsigned i = 0; i < addresses.size(); ++i) addresses.set(i, offer.addresses[i]);
}

Result<NodeOffer> read(wire::NodeDescription::Reader from) {
  NodeOffer offer;
  offer.name = wire::to_string(from.getName());
  offer.node_id = wire::to_string(from.getNodeId());
  for (const std::string* const text : {&offer.name, &offer.node_id}) {
    if (base::printable(*text) != *text) {
      return fail(ErrorKind::kInvalid, "the name or id of a node, '" + base::printable(*text) +
                                           "', has characters that cannot be shown");
    }
  }
  offer.cores = from.getCores();
  offer.widest_worker = from.getWidestWorker();
  offer.memory_bytes = from.getMemoryBytes();
  auto gpus = wire::read(from.getGpus());
  if (!gpus) {
    return fail(gpus.error().kind(), "node " + offer.name + ": " + gpus.error().what());
  }
  offer.gpus = std::move(*gpus);
  offer.cpuset = wire::cut_text(wire::to_string(from.getCpuset()), kMaxCpusetText);
  if (from.getKey().size() != offer.key.size()) {
    return fail(ErrorKind::kInvalid, "node " + offer.name + " has a key of " +
                                         std::to_string(from.getKey().size()) + " bytes");
  }
  std::memcpy(offer.key.data(), from.getKey().begin(), offer.key.size());
  constexpr std::int64_t kFar = std::int64_t{1} << 52;
  offer.clock_ahead = milliseconds(std::clamp<std::int64_t>(from.getClockAheadMs(), -kFar, kFar));
  offer.clock_error = milliseconds(from.getClockErrorMs());
  if (from.getAddresses().size() > wire::kMaxAddresses) {
    return fail(ErrorKind::kInvalid,
                "node " + offer.name + " has " + std::to_string(from.getAddresses().size()) +
                    " addresses; allowed are " + std::to_string(wire::kMaxAddresses));
  }
  for (const auto address : from.getAddresses()) {
    offer.addresses.push_back(wire::cut_text(wire::to_string(address), 2 * kMaxName));
  }
  return offer;
}

// ---- how long calls run ----

void write(wire::NodeRegistration::CallTimesParams::Builder to, const wire::CallTimes& times) {
  const auto some = std::count_if(times.calls.begin(), times.calls.end(),
                                  [](std::uint64_t calls) { return calls != 0; });
  auto list = to.initCalls(static_cast<unsigned>(some));
  unsigned at = 0;
  for (std::size_t bucket = 0; bucket < times.calls.size(); ++bucket) {
    if (times.calls[bucket] == 0) continue;
    list[at].setBucket(static_cast<std::uint16_t>(bucket));
    list[at++].setCalls(times.calls[bucket]);
  }
  to.setTotalNs(times.total_ns);
}

Result<wire::CallTimes> read(wire::NodeRegistration::CallTimesParams::Reader from) {
  wire::CallTimes times;
  const auto list = from.getCalls();
  if (list.size() > times.calls.size()) {
    return fail(ErrorKind::kInvalid, "a node tells the times of calls in " +
                                         std::to_string(list.size()) + " buckets; there are " +
                                         std::to_string(times.calls.size()));
  }
  for (const auto each : list) {
    if (each.getBucket() >= times.calls.size()) {
      return fail(ErrorKind::kInvalid, "a node tells of calls in bucket " +
                                           std::to_string(each.getBucket()) + "; the last is " +
                                           std::to_string(times.calls.size() - 1));
    }
    wire::CallTimes::add(times.calls[each.getBucket()], each.getCalls());
  }
  times.total_ns = from.getTotalNs();
  return times;
}

}  // namespace sublet::manager
