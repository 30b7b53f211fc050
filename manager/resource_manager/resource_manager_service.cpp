#include <base/log.hpp>
#include <common/async.hpp>
#include <common/messages.hpp>
#include <resource_manager/refusal_text.hpp>
#include <resource_manager/resource_manager_service.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <sodium/randombytes.h>
#include <sodium/utils.h>

#include <utility>

namespace sublet::manager {
namespace {

constexpr milliseconds kTick{500};
/// Else Cap'n Proto takes 8 KiB for a call.
constexpr capnp::MessageSize kSmallCall{64, 1};
/// A tick that is so late comes after a stop of this process.
constexpr milliseconds kStopped{1500};

/// Numbers count up from the time of the start in steps that leases do not catch up with (65536 a
/// second), so that a restarted manager gives none away twice.
LeaseId first_lease(Time now) {
  constexpr std::int64_t kEpochSeconds = 1'735'689'600;  // 2025: keeps the numbers short
  const std::int64_t seconds =
      std::max<std::int64_t>(1, now.time_since_epoch().count() / 1000 - kEpochSeconds);
  return LeaseId{static_cast<std::uint64_t>(seconds) << 16};
}

/// With records, higher than all that these have seen, whatever the clock says.
LeaseId first_lease(Time now, const LeaseRecords* records) {
  if (records == nullptr) return first_lease(now);
  return std::max(first_lease(now), records->unused_lease());
}

void fill_random(std::span<std::byte> bytes) {
  randombytes_buf(bytes.data(), bytes.size());
}

}  // namespace

namespace {

std::string random_instance() {
  std::array<std::byte, 8> bytes{};
  fill_random(bytes);
  std::array<char, 2 * bytes.size() + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                 bytes.size());
  return hex.data();
}

}  // namespace

ResourceManagerService::ResourceManagerService(kj::Timer& timer, Operators operators, Clock clock,
                                               LeaseRecords* records,
                                               const LeaseDesk::Limits& limits)
    : timer_(timer),
      operators_(std::move(operators)),
      clock_(std::move(clock)),
      records_(records),
      book_(LeaseBook::Limits{}, first_lease(clock_(), records), fill_random),
      desk_(
          book_, limits, [this](std::uint32_t uid) { return operators_.include_user(uid); },
          operators_.to_string()),
      instance_(random_instance()),
      tasks_(*this) {
  last_tick_ = now();
  if (records_ != nullptr) {
    const std::vector<OpenGrant> open = records_->take_open();
    book_.set_observer(records_);
    for (const std::string& note : book_.restore(open, last_tick_)) base::log().warn("{}", note);
    if (!open.empty()) {
      base::log().info("{} grants were open when the manager before this one ended", open.size());
    }
    for (const auto& [uid, quota] : records_->take_quotas()) {
      (void)desk_.set_quota({.everybody = !uid,
                             .uid = uid.value_or(0),
                             .clear = false,
                             .set_cores = true,
                             .set_core_seconds = true,
                             .quota = quota});
    }
    const Time today = std::chrono::floor<std::chrono::days>(last_tick_);
    for (const auto& [uid, core_ms] : records_->used_since(today)) {
      book_.note_used(uid, core_ms, last_tick_);
    }
  }
  tasks_.add(tick_loop());
}

ResourceManagerService::~ResourceManagerService() noexcept(false) = default;

void ResourceManagerService::taskFailed(kj::Exception&& exception) {
  base::log().error("in the background: {}", text_of(exception));
}

std::string ResourceManagerService::name_of(NodeNumber node) const {
  const NodeOffer* const offer = book_.nodes().offer(node);
  return offer == nullptr ? "a node that left" : offer->name;
}

// ---- the ledger ----

namespace {

constexpr const char* kNoLedger =
    "this resource manager keeps no ledger; start it with --state-dir DIR";

}  // namespace

kj::Promise<Result<wire::LedgerPage>> ResourceManagerService::read_ledger(
    wire::LedgerFilter filter) {
  if (records_ != nullptr) return records_->read(std::move(filter));
  return Result<wire::LedgerPage>(fail(ErrorKind::kUnsupported, kNoLedger));
}

kj::Promise<Result<wire::LedgerCheck>> ResourceManagerService::verify_ledger() {
  if (records_ != nullptr) return records_->verify();
  return Result<wire::LedgerCheck>(fail(ErrorKind::kUnsupported, kNoLedger));
}

void ResourceManagerService::forget_records() {
  book_.set_observer(nullptr);
  records_ = nullptr;
}

// ---- nodes ----

Result<RegistrationId> ResourceManagerService::register_node(const NodeOffer& offer,
                                                             std::vector<GrantTerms> held,
                                                             std::vector<EndedGrant> ended,
                                                             wire::NodeControl::Client control,
                                                             std::shared_ptr<Peer> peer) {
  if (auto good = check_clock(offer); !good) return tl::unexpected<Error>(std::move(good.error()));
  if (const auto known = book_.nodes().find(offer.node_id); known && book_.nodes().is_up(*known)) {
    const auto link = links_.find(*known);
    const bool alive =
        link != links_.end() && (link->second.peer == nullptr || !link->second.peer->has_closed());
    // An executor manager that comes back over a new connection has the key it had, and nobody
    // else.
    if (alive && book_.nodes().offer(*known)->key != offer.key) {
      return fail(ErrorKind::kInvalid,
                  "another executor manager serves node " + offer.name +
                      " and is alive; stop it first, or give this one another --node-name");
    }
  }
  const std::size_t held_count = held.size();
  const std::size_t ended_count = ended.size();
  auto registered = book_.register_node(offer, std::move(held), now(), std::move(ended));
  if (!registered) return tl::unexpected<Error>(std::move(registered.error()));
  const RegistrationId id{registered->node, next_serial_++};
  links_.erase(id.node);
  links_.emplace(id.node, Link{id.serial, kj::mv(control), std::move(peer)});
  for (std::size_t i = 0; i < ended_count; ++i) note_end(id.node);
  base::log().info("node {} registered with {} cores, {} MiB and {} grants", offer.name,
                   offer.cores, offer.memory_bytes >> 20, held_count);
  for (const std::string& note : registered->notes) base::log().warn("{}", note);
  send(registered->revocations);
  serve_soon();
  return id;
}

/// Refused is what is too far off even with the error of its measurement.
Result<void> ResourceManagerService::check_clock(const NodeOffer& offer) const {
  const auto [off, whose] = offer.clock_ahead.count() < 0
                                ? std::pair(-offer.clock_ahead, " behind")
                                : std::pair(offer.clock_ahead, " ahead of");
  if (off - offer.clock_error <= clock_tolerance_) {
    if (off - offer.clock_error > clock_tolerance_ / 2) {
      base::log().warn(
          "alarm, clocks: node {} is {}{} the resource manager at its registration; from {} on it "
          "is "
          "refused (--clock-tolerance): set both by NTP",
          offer.name, duration_text(off), whose, duration_text(clock_tolerance_));
    }
    return {};
  }
  return fail(ErrorKind::kInvalid,
              "the clock of node " + offer.name + " is " + duration_text(off) + whose +
                  " the resource manager's; allowed are " + duration_text(clock_tolerance_) +
                  " (--clock-tolerance): set both by NTP, with chrony for instance, and start its "
                  "executor manager again");
}

bool ResourceManagerService::is_current(const RegistrationId& registration) const {
  const auto link = links_.find(registration.node);
  return link != links_.end() && link->second.serial == registration.serial;
}

bool ResourceManagerService::heartbeat(const RegistrationId& registration,
                                       const DirectUse& direct) {
  if (!is_current(registration) || !book_.heartbeat(registration.node, now(), direct)) {
    return false;
  }
  // One that drains says so right after it has registered.
  if (drain_waits_.any(registration.node) && !book_.nodes().is_draining(registration.node)) {
    settle(registration.node, wire::DrainEnd::RETURNED);
  }
  return true;
}

void ResourceManagerService::claimed(const RegistrationId& registration, LeaseId lease,
                                     std::uint32_t part) {
  if (is_current(registration)) book_.claimed({lease, part, registration.node});
}

void ResourceManagerService::ended(const RegistrationId& registration, EndedGrant grant,
                                   bool has_terms) {
  if (!is_current(registration)) return;
  grant.terms.key.node = registration.node;
  base::log().info("{} ended on node {}: {}", manager::name_of(grant.terms.key),
                   name_of(registration.node), grant.reason);
  if (has_terms) {
    book_.ended(registration.node, std::move(grant));
  } else {
    book_.ended(grant.terms.key, grant.usage, grant.reason);
  }
  note_end(registration.node);
  serve_soon();
}

void ResourceManagerService::note_end(NodeNumber node) {
  if (records_ == nullptr) {
    ++links_.at(node).ends_kept;
  } else {
    links_.at(node).ends_told.push_back(records_->told());
  }
}

std::uint64_t ResourceManagerService::ends_kept(const RegistrationId& registration) {
  if (!is_current(registration)) return 0;
  Link& link = links_.at(registration.node);
  while (records_ != nullptr && !link.ends_told.empty() &&
         link.ends_told.front() <= records_->kept()) {
    link.ends_told.pop_front();
    ++link.ends_kept;
  }
  return link.ends_kept;
}

void ResourceManagerService::usage(const RegistrationId& registration, LeaseId lease,
                                   std::uint32_t part, const Usage& usage) {
  if (is_current(registration)) book_.usage({lease, part, registration.node}, usage);
}

void ResourceManagerService::draining(const RegistrationId& registration) {
  if (!is_current(registration)) return;
  base::log().info("node {} drains", name_of(registration.node));
  book_.set_draining(registration.node, true);
}

void ResourceManagerService::warm(const RegistrationId& registration, std::uint32_t executors) {
  if (is_current(registration)) book_.set_warm(registration.node, executors);
}

void ResourceManagerService::call_times(const RegistrationId& registration,
                                        const wire::CallTimes& more) {
  if (is_current(registration)) book_.call_times(more);
}

kj::Promise<void> ResourceManagerService::left(const RegistrationId& registration,
                                               std::optional<wire::DrainCounts> counts) {
  if (!is_current(registration)) return kj::READY_NOW;
  base::log().info("node {} left", name_of(registration.node));
  links_.erase(registration.node);
  settle(registration.node, wire::DrainEnd::LEFT, 0, counts);
  book_.node_left(registration.node);
  if (records_ == nullptr) return kj::READY_NOW;
  return records_->keep().ignoreResult();
}

void ResourceManagerService::registration_dropped(const RegistrationId& registration) {
  if (!is_current(registration)) return;
  base::log().warn("node {} is lost: its connection ended", name_of(registration.node));
  links_.erase(registration.node);
  book_.node_disconnected(registration.node, now());
}

// ---- time ----

kj::Promise<void> ResourceManagerService::tick_loop() {
  return timer_.afterDelay(to_kj(kTick)).then([this] {
    tick();
    return tick_loop();
  });
}

void ResourceManagerService::tick() {
  // Stopped for a while (SIGSTOP), we have not heard what the nodes have said meanwhile.
  const Time last = std::exchange(last_tick_, now());
  if (last_tick_ - last > kStopped) book_.excuse_silence(last_tick_ - last);
  const LeaseBook::Due due = book_.tick(now());
  for (const std::string& note : due.notes) base::log().warn("{}", note);
  for (const LeaseBook::Lost& lost : due.lost) {
    settle(lost.node, wire::DrainEnd::LOST, lost.leases);
  }
  for (auto link = links_.begin(); link != links_.end();) {
    link = book_.nodes().is_up(link->first) ? std::next(link) : links_.erase(link);
  }
  send(due.revocations);
  if (waiters_.empty()) return;
  for (const LeaseId number : std::exchange(abandoned_, {})) {
    give_up_waiting(number, Error(ErrorKind::kDisconnected, "its client left"));
  }
  for (const LeaseDesk::Expired& expired : desk_.expire(now())) {
    give_up_waiting(expired.request.number, expired.error);
  }
  desk_.refresh(now());
  serve();
}

void ResourceManagerService::send(const std::vector<Revocation>& revocations) {
  for (const Revocation& revocation : revocations) send(revocation);
}

void ResourceManagerService::send(const Revocation& revocation) {
  tasks_.add(revoke(revocation).then([this, key = revocation.key](const std::string& failure) {
    if (failure.empty() || !links_.contains(key.node)) return;  // the book tells it when it returns
    base::log().warn("revoking {} on node {}: {}", manager::name_of(key), name_of(key.node),
                     failure);
  }));
}

kj::Promise<std::string> ResourceManagerService::revoke(const Revocation& revocation) {
  const GrantKey key = revocation.key;
  const auto link = links_.find(key.node);
  if (link == links_.end()) return std::string("it is not connected");
  if (revocation.left) return notify(revocation, link->second);
  auto request = link->second.control.revokeRequest(kSmallCall);
  request.setLeaseId(number(key.lease));
  request.setPart(key.part);
  request.setReason(revocation.reason);
  request.setUnclaimedOnly(revocation.unclaimed_only);
  const RegistrationId registration{key.node, link->second.serial};
  auto sent = request.send().then([](auto&& response) { return response.getHeld(); });
  return within(timer_, wire::kRevokeCall, kj::mv(sent), "the revocation")
      .then(
          [this, key, registration](bool held) {
            if (!is_current(registration)) return std::string();
            // `ended` came before this answer when there was something to end.
            held ? book_.claimed(key) : book_.refused(key);
            serve_soon();
            return std::string();
          },
          [](kj::Exception&& exception) { return text_of(exception); });
}

/// Tells a node to end a grant later.
kj::Promise<std::string> ResourceManagerService::notify(const Revocation& revocation, Link& link) {
  auto request = link.control.endSoonRequest(kSmallCall);
  request.setLeaseId(number(revocation.key.lease));
  request.setPart(revocation.key.part);
  request.setLeftMs(static_cast<std::uint64_t>(revocation.left->count()));
  request.setReason(revocation.reason);
  auto sent = request.send().then([](auto&& response) {
    const auto refusal = wire::failure_of(response);
    return refusal ? std::string(refusal->what()) : std::string();
  });
  return within(timer_, wire::kManagerCall, kj::mv(sent), "the notice")
      .catch_([](kj::Exception&& exception) { return text_of(exception); });
}

}  // namespace sublet::manager
