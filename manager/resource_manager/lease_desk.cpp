#include <resource_manager/lease_desk.hpp>
#include <resource_manager/refusal_text.hpp>
#include <wire/placement.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {
namespace {

/// Lines that are looked at for one event.
constexpr std::size_t kMostLooks = 256;
constexpr milliseconds kLookAgain{400};
/// How long it is believed that a request would fit if all nodes were free, or would not.
constexpr milliseconds kCheckAgain{5000};

std::uint64_t cores_of(const LeaseRequest& request) {
  return std::uint64_t{request.cores} * request.cores_per_worker * request.parts;
}

std::string seconds_text(double core_ms) {
  return std::to_string(static_cast<std::uint64_t>(std::max(0.0, core_ms) / 1000));
}

}  // namespace

LeaseDesk::LeaseDesk(LeaseBook& book, const Limits& limits, Exempt exempt, std::string operators)
    : book_(book),
      exempt_(std::move(exempt)),
      operators_(std::move(operators)),
      everybody_(limits.everybody),
      queue_(limits.queue, [this](std::uint32_t uid) { return book_.share(uid); }) {}

// ---- quotas ----

LeaseQuota LeaseDesk::quota_of(std::uint32_t uid) const {
  if (const auto own = own_.find(uid); own != own_.end()) return own->second;
  return exempt_(uid) ? LeaseQuota{} : everybody_;
}

void LeaseDesk::set_limits(const Limits& limits) {
  if (!everybody_set_) everybody_ = limits.everybody;
  queue_.set_aging(limits.queue.aging);
}

Result<void> LeaseDesk::set_quota(const wire::QuotaOrder& order) {
  if (order.clear && !order.everybody) {
    own_.erase(order.uid);
    return {};
  }
  if (!order.everybody && !own_.contains(order.uid) && own_.size() >= wire::kMaxQuotas) {
    return fail(ErrorKind::kOverloaded, std::to_string(own_.size()) +
                                            " users have a quota of their own, and no more may; "
                                            "take some away with `sublet quota clear`");
  }
  everybody_set_ = everybody_set_ || order.everybody;
  LeaseQuota& quota =
      order.everybody ? everybody_ : own_.try_emplace(order.uid, quota_of(order.uid)).first->second;
  if (order.clear) quota = {};
  if (order.set_cores) quota.cores = order.quota.cores;
  if (order.set_core_seconds) quota.core_seconds = order.quota.core_seconds;
  return {};
}

std::vector<wire::QuotaInfo> LeaseDesk::quotas(std::optional<std::uint32_t> only, Time now) const {
  std::set<std::uint32_t> users;
  if (only) {
    users.insert(*only);
  } else {
    for (const auto& [uid, quota] : own_) users.insert(uid);
    for (const auto& [uid, account] : book_.accounts().all()) users.insert(uid);
    for (const WaitingRequest* waiting : queue_.all()) users.insert(waiting->requester.caller.uid);
  }
  std::vector<wire::QuotaInfo> infos(1);
  infos.front().everybody = true;
  infos.front().quota = everybody_;
  for (const std::uint32_t uid : users) {
    wire::QuotaInfo info;
    info.uid = uid;
    info.own = own_.contains(uid);
    info.quota = quota_of(uid);
    if (const auto* const account = book_.accounts().find(uid)) {
      info.held_cores = account->held_cores;
      info.used_core_seconds = static_cast<double>(account->used_core_ms) / 1000;
    }
    info.promised_core_seconds = book_.accounts().promised_core_ms(uid, now) / 1000;
    info.waiting = static_cast<std::uint32_t>(queue_.of_user(uid));
    info.share = book_.accounts().share(uid, now);
    infos.push_back(std::move(info));
  }
  return infos;
}

Result<void> LeaseDesk::check_quota(std::uint32_t uid, std::uint64_t cores,
                                    std::uint64_t more_cores, Time from, Time until,
                                    Time now) const {
  const LeaseQuota quota = quota_of(uid);
  if (!quota.cores && !quota.core_seconds) return {};
  const std::string who = uid == kUnknownUid ? "users who are not proved have together"
                                             : "uid " + std::to_string(uid) + " has";
  const std::string change = "; " + operators_ + " may change it with `sublet quota set`";
  const UserAccounts& accounts = book_.accounts();
  const auto* const account = accounts.find(uid);
  const std::uint64_t held = account == nullptr ? 0 : account->held_cores;
  if (quota.cores && held + more_cores > *quota.cores) {
    const bool never = more_cores > *quota.cores;
    return fail(never ? ErrorKind::kDenied : ErrorKind::kOverloaded,
                who + " a quota of " + std::to_string(*quota.cores) +
                    " cores at one time: " + std::to_string(held) + " are held, and " +
                    std::to_string(more_cores) + " more are asked for; ask for fewer" +
                    (never ? "" : ", or wait until some have been given back") + change);
  }
  if (!quota.core_seconds) return {};
  const double need =
      accounts.need_core_ms(cores, until, now) - accounts.need_core_ms(cores, from, now);
  const double used = account == nullptr ? 0 : static_cast<double>(account->used_core_ms);
  const double promised = accounts.promised_core_ms(uid, now);
  const double allowed = static_cast<double>(*quota.core_seconds) * 1000;
  if (used + promised + need <= allowed) return {};
  const bool never = need > allowed;
  return fail(never ? ErrorKind::kDenied : ErrorKind::kOverloaded,
              who + " a quota of " + std::to_string(*quota.core_seconds) +
                  " core-seconds a day (UTC): " + seconds_text(used) + " are used, " +
                  seconds_text(promised) + " are promised to leases that there are, and " +
                  std::to_string(cores) + " cores until the end of the lease or the day need " +
                  seconds_text(need) + " more; ask for fewer cores or a shorter time" + change);
}

Result<void> LeaseDesk::check_quota(const LeaseRequest& request, std::uint32_t uid,
                                    Time now) const {
  const std::uint64_t cores = cores_of(request);
  return check_quota(uid, cores, cores, now, now + request.duration, now);
}

Result<void> LeaseDesk::may_extend(LeaseId lease, milliseconds duration, Time now) const {
  const auto extent = book_.grants().extent(lease);
  if (!extent) return {};  // who looks for it says so
  const Time from = std::max(extent->expires, now);
  return check_quota(extent->owner_uid, extent->cores, 0, from, std::max(from, now + duration),
                     now);
}

// ---- at once ----

Result<std::vector<GrantTerms>> LeaseDesk::reserve(const LeaseRequest& request,
                                                   const Requester& requester, Time now,
                                                   const std::set<NodeNumber>& excluded) {
  const std::uint32_t uid = requester.caller.uid;
  if (auto allowed = check_quota(request, uid, now); !allowed) {
    return tl::unexpected<Error>(std::move(allowed.error()));
  }
  if (!queue_.empty()) {
    if (const auto* const first = kept_for(queue_.rank_of(request, uid, now), now)) {
      return fail(ErrorKind::kOverloaded,
                  "asked for " + std::to_string(cores_of(request)) +
                      " cores, but what comes free is kept for a request of " +
                      std::to_string(first->cores()) + " cores that has waited for " +
                      std::to_string((now - first->asked).count() / 1000) +
                      " s; ask with a wait, to be served after it");
    }
  }
  auto grants = book_.reserve(request, requester, now, excluded);
  if (grants && !queue_.empty()) queue_.reorder(uid, now);
  return grants;
}

bool LeaseDesk::is_kept_for(WaitingQueue::Line& line, Time now) {
  const WaitingRequest& first = line.requests.front();
  if (!line.raised || first.not_before > now) return false;
  if (!check_quota(first.request, first.requester.caller.uid, now)) return false;
  if (line.checked == Time{} || now - line.checked > kCheckAgain) {
    line.checked = now;
    line.possible = place(first.request, book_.nodes().find(first.requester.node_id),
                          book_.nodes().when_empty())
                        .has_value();
  }
  return line.possible;
}

const WaitingRequest* LeaseDesk::kept_for(const WaitingQueue::Rank& rank, Time now) {
  std::size_t looks = 0;
  for (const auto& [at, line] : queue_.lines()) {
    if (at > rank || ++looks > kMostLooks) return nullptr;
    if (is_kept_for(*line, now)) return &line->requests.front();
  }
  return nullptr;
}

// ---- waiting ----

Result<void> LeaseDesk::wait(WaitingRequest request, Time now) {
  return queue_.add(std::move(request), now);
}

std::optional<std::vector<GrantTerms>> LeaseDesk::try_first(WaitingQueue::Line& line, Time now) {
  const WaitingRequest& first = line.requests.front();
  if (first.not_before > now || first.cores() > book_.nodes().free_cores()) return std::nullopt;
  if (!check_quota(first.request, first.requester.caller.uid, now)) return std::nullopt;
  const bool all = now - line.looked >= kLookAgain;
  auto grants = book_.reserve(
      first.request, first.requester, now, {},
      all ? LeaseBook::Look::kAll : LeaseBook::Look::kLikely,
      book_.grants().is_known(first.number) ? std::nullopt : std::optional(first.number));
  if (grants) return std::move(*grants);
  if (all) line.looked = now;
  return std::nullopt;
}

std::vector<LeaseDesk::Served> LeaseDesk::serve(Time now) {
  std::vector<Served> served;
  std::size_t looks = 0;
  auto at = queue_.lines().begin();
  while (at != queue_.lines().end() && book_.nodes().free_cores() > 0 && looks++ < kMostLooks) {
    WaitingQueue::Line& line = *at->second;
    auto grants = try_first(line, now);
    if (!grants) {
      if (is_kept_for(line, now)) break;
      ++at;
      continue;
    }
    const LeaseId number = line.requests.front().number;
    const std::uint32_t uid = line.requests.front().requester.caller.uid;
    served.push_back({*queue_.remove(number, now), std::move(*grants)});
    queue_.reorder(uid, now);
    // Those before it did not fit, and now there is less.
    at = queue_.lines().begin();
  }
  return served;
}

std::vector<LeaseDesk::Expired> LeaseDesk::expire(Time now) {
  std::vector<Expired> expired;
  std::vector<WaitingRequest> late = queue_.expire(now);
  if (late.empty()) return expired;
  const auto nodes = book_.nodes().views(now);
  for (WaitingRequest& request : late) {
    const auto waited = (now - request.asked).count();
    std::string text = "waited for " + std::to_string(waited / 1000) + "." +
                       std::to_string(waited % 1000 / 100) + " s, and " +
                       std::to_string(queue_.size()) +
                       " others still wait: " + refusal_text(request.request, nodes) + "; " +
                       holders_text(request.requester.caller.uid);
    if (auto quota = check_quota(request.request, request.requester.caller.uid, now); !quota) {
      text += std::string("; ") + quota.error().what();
    }
    text += "; ask for fewer cores, or wait longer";
    expired.push_back({std::move(request), Error(ErrorKind::kOverloaded, text)});
  }
  return expired;
}

std::string LeaseDesk::holders_text(std::uint32_t uid) const {
  const UserAccounts& accounts = book_.accounts();
  const auto* const own = accounts.find(uid);
  const std::uint64_t held = own == nullptr ? 0 : own->held_cores;
  std::size_t others = 0;
  for (const auto& [other, account] : accounts.all()) {
    others += other != uid && account.held_cores != 0 ? 1 : 0;
  }
  return "of those held " + std::to_string(held) + " are this user's, and " +
         std::to_string(accounts.held_cores() - held) + " are of " + std::to_string(others) +
         (others == 1 ? " other user" : " other users");
}

std::vector<LeaseInfo> LeaseDesk::waiting(std::optional<std::uint32_t> of, Time now) const {
  std::vector<LeaseInfo> infos;
  std::uint32_t place = 0;
  for (const WaitingRequest* request : queue_.all()) {
    ++place;
    if (of && request->requester.caller.uid != *of) continue;
    LeaseInfo info;
    info.id = number(request->number);
    info.state = "waiting";
    info.owner = request->requester.owner;
    info.uid = request->requester.caller.uid;
    info.slurm_job = request->requester.slurm_job;
    info.cores =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(request->cores(), ~std::uint32_t{0}));
    info.gpus =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(request->gpus(), ~std::uint32_t{0}));
    info.priority = request->request.priority;
    info.notice = request->request.notice;
    info.expires_unix_ms = to_unix_ms(request->deadline);
    info.waited = now - request->asked;
    info.place = place;
    infos.push_back(std::move(info));
  }
  return infos;
}

}  // namespace sublet::manager
