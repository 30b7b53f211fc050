// What operators order: nodes to leave or to stay, leases to end, nodes to be forgotten.

#include <base/log.hpp>
#include <common/async.hpp>
#include <resource_manager/resource_manager_service.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <utility>

namespace sublet::manager {
namespace {

/// Of what nodes answer, in one error.
constexpr std::size_t kMaxFailures = 4;

/// What all of `promises` have said: one error that begins with `what`, of the first one's kind.
kj::Promise<Result<void>> all_of(kj::Array<kj::Promise<std::optional<Error>>> promises,
                                 std::string what) {
  return kj::joinPromises(kj::mv(promises))
      .then(
          [text = std::move(what)](kj::Array<std::optional<Error>>&& said) mutable -> Result<void> {
            std::size_t failed = 0;
            ErrorKind kind{};
            for (const std::optional<Error>& error : said) {
              if (!error) continue;
              if (failed == 0) kind = error->kind();
              if (failed++ < kMaxFailures) text += std::string("; ") + error->what();
            }
            if (failed == 0) return {};
            if (failed > kMaxFailures) text += "; ...";
            return fail(kind, text);
          });
}

std::optional<Error> disconnected(const std::string& text) {
  return Error(ErrorKind::kDisconnected, text);
}

}  // namespace

/// The nodes of that name that can be told something.
Result<std::vector<NodeNumber>> ResourceManagerService::connected(const std::string& name) const {
  auto named = book_.nodes().named(name);
  if (!named) return named;
  std::erase_if(*named, [this](NodeNumber node) { return !links_.contains(node); });
  if (!named->empty()) return named;
  return fail(ErrorKind::kDisconnected, "node " + name +
                                            " is lost: its executor manager cannot be told; "
                                            "`sublet forget " +
                                            name + "` removes it");
}

// ---- drains ----

void ResourceManagerService::settle(NodeNumber node, wire::DrainEnd end, std::size_t leases_lost,
                                    std::optional<wire::DrainCounts> counts) {
  if (!drain_waits_.any(node)) return;
  wire::DrainReport report;
  if (const NodeOffer* const offer = book_.nodes().offer(node)) report.node_id = offer->node_id;
  report.end = end;
  report.counts = counts;
  report.leases_lost = static_cast<std::uint32_t>(leases_lost);
  drain_waits_.settle(node, report);
}

kj::Promise<std::optional<Error>> ResourceManagerService::tell_drain(NodeNumber node,
                                                                     const DrainOrder& order) {
  auto request = links_.at(node).control.drainRequest();
  request.setLimitMs(static_cast<std::uint64_t>(std::max<std::int64_t>(0, order.limit.count())));
  request.setReason(order.reason);
  request.setOwnNotice(order.own_notice);
  auto told = request.send().then([this, node](auto&& response) {
    auto refusal = wire::failure_of(response);
    if (refusal) book_.set_draining(node, false);
    return refusal;
  });
  return within(timer_, wire::kManagerCall, kj::mv(told), "the order")
      .catch_([waits = order.wait](kj::Exception&& exception) {
        // Who waits hears whether it is lost, or comes back and drains.
        if (waits && exception.getType() == kj::Exception::Type::DISCONNECTED) {
          return std::optional<Error>();
        }
        return disconnected("it gets no new leases, but could not be told to end those it has: " +
                            text_of(exception));
      });
}

kj::Promise<Result<ResourceManagerService::DrainReports>> ResourceManagerService::drain(
    DrainOrder order, const Caller& caller) {
  const auto named = connected(order.node);
  if (!named) return Result<DrainReports>(tl::unexpected<Error>(named.error()));
  DrainWaits::Place place;
  if (order.wait) {
    auto taken = drain_waits_.take_place(caller);
    if (!taken) return Result<DrainReports>(tl::unexpected<Error>(taken.error()));
    place = std::move(*taken);
  }
  // From now on, so that a node that has nothing to end cannot leave unseen.
  kj::Promise<Result<DrainReports>> end = Result<DrainReports>();
  if (order.wait) end = await_drains(*named, order, std::move(place));
  auto told = kj::heapArrayBuilder<kj::Promise<std::optional<Error>>>(named->size());
  for (const NodeNumber number : *named) {
    book_.set_draining(number, true);
    told.add(tell_drain(number, order));
  }
  base::log().info("{} drains node {} within {} ms: {}", to_string(caller), order.node,
                   order.limit.count(), order.reason);
  return all_of(told.finish(), "draining node " + order.node)
      .then(
          [end = kj::mv(end)](Result<void>&& ordered) mutable -> kj::Promise<Result<DrainReports>> {
            if (ordered) return kj::mv(end);
            return Result<DrainReports>(tl::unexpected<Error>(ordered.error()));
          });
}

/// When the last of the node's leases ends, at the latest.
milliseconds ResourceManagerService::drain_limit(NodeNumber node, const DrainOrder& order) const {
  if (!order.own_notice) return order.limit;
  milliseconds longest{0};
  for (const GrantKey& key : book_.nodes().grants(node)) {
    longest = std::max(longest, book_.grants().find(key)->terms.notice);
  }
  return std::min(order.limit, longest);
}

kj::Promise<Result<ResourceManagerService::DrainReports>> ResourceManagerService::await_drains(
    const std::vector<NodeNumber>& nodes, const DrainOrder& order, DrainWaits::Place place) {
  auto ends = kj::heapArrayBuilder<kj::Promise<wire::DrainReport>>(nodes.size());
  for (const NodeNumber node : nodes) {
    wire::DrainReport still;
    still.node_id = book_.nodes().offer(node)->node_id;
    auto late =
        wire::after_running(timer_, drain_limit(node, order) + wire::kDrainMargin).then([still] {
          return still;
        });
    ends.add(drain_waits_.wait(node).exclusiveJoin(kj::mv(late)));
  }
  return kj::joinPromises(ends.finish())
      .then([place = std::move(place)](kj::Array<wire::DrainReport>&& reports) {
        return Result<DrainReports>(DrainReports(reports.begin(), reports.end()));
      });
}

kj::Promise<std::optional<Error>> ResourceManagerService::tell_cancel(NodeNumber node) {
  Link& link = links_.at(node);
  const RegistrationId registration{node, link.serial};
  auto told = link.control.cancelDrainRequest().send().then([this, registration](auto&& response) {
    auto refusal = wire::failure_of(response);
    if (refusal) return refusal;
    const NodeNumber number = registration.node;
    // It may have been marked here alone, when it could not be told.
    if (!response.getDrained() && !book_.nodes().is_draining(number)) {
      refusal = Error(ErrorKind::kInvalid, "it does not drain");
      return refusal;
    }
    if (is_current(registration)) book_.set_draining(number, false);
    serve_soon();
    settle(number, wire::DrainEnd::CANCELLED);
    return refusal;
  });
  return within(timer_, wire::kManagerCall, kj::mv(told), "the order")
      .catch_([](kj::Exception&& exception) { return disconnected(text_of(exception)); });
}

kj::Promise<Result<void>> ResourceManagerService::cancel_drain(const std::string& node,
                                                               const Caller& caller) {
  const auto named = connected(node);
  if (!named) return Result<void>(tl::unexpected<Error>(named.error()));
  base::log().info("{} takes the drain of node {} back", to_string(caller), node);
  auto told = kj::heapArrayBuilder<kj::Promise<std::optional<Error>>>(named->size());
  for (const NodeNumber number : *named) told.add(tell_cancel(number));
  return all_of(told.finish(), "the drain of node " + node + " is not cancelled");
}

// ---- leases and nodes ----

kj::Promise<Result<milliseconds>> ResourceManagerService::release(LeaseId lease,
                                                                  const std::string& reason,
                                                                  const Caller& caller,
                                                                  bool notice) {
  const std::string who = to_string(caller);
  const auto ended_by = [&](const char* what) {
    return wire::cut_text(what + who + (reason.empty() ? "" : ": " + reason), wire::kMaxText);
  };
  if (give_up_waiting(lease, Error(ErrorKind::kDenied, ended_by("the wait was ended by ")))) {
    base::log().info("{} ends the wait of number {}: {}", who, number(lease), reason);
    return Result<milliseconds>(milliseconds(0));
  }
  const auto revocations = book_.release(lease, ended_by("the lease was ended by "), now(), notice);
  if (!revocations) return Result<milliseconds>(tl::unexpected<Error>(revocations.error()));
  base::log().info("{} ends lease {}{}: {}", who, number(lease), notice ? " with notice" : "",
                   reason);
  auto told = kj::heapArrayBuilder<kj::Promise<std::optional<Error>>>(revocations->size());
  milliseconds left{0};
  for (const Revocation& revocation : *revocations) {
    left = std::max(left, revocation.left.value_or(milliseconds(0)));
    told.add(revoke(revocation)
                 .then([name = name_of(revocation.key.node)](
                           const std::string& failure) -> std::optional<Error> {
                   if (failure.empty()) return std::nullopt;
                   return disconnected("node " + name + ": " + failure);
                 }));
  }
  return all_of(told.finish(), "lease " + std::to_string(number(lease)) +
                                   " ends, but not all of its nodes have said so; cores there are "
                                   "free once they do, or are lost")
      .then([left](Result<void>&& done) -> Result<milliseconds> {
        if (!done) return tl::unexpected<Error>(std::move(done.error()));
        return left;
      });
}

std::optional<std::uint32_t> ResourceManagerService::owner_uid(LeaseId lease) const {
  if (const auto* const waiting = desk_.queue().find(lease)) {
    return waiting->requester.caller.uid;
  }
  return book_.grants().owner_uid(lease);
}

// ---- quotas ----

kj::Promise<Result<void>> ResourceManagerService::set_quota(const wire::QuotaOrder& order,
                                                            const Caller& caller) {
  if (records_ != nullptr) {
    if (auto ready = records_->ready(); !ready) return ready;
  }
  if (auto set = desk_.set_quota(order); !set) return set;
  base::log().info("{} {} the quota of {}", to_string(caller), order.clear ? "clears" : "sets",
                   order.everybody ? "everybody" : "uid " + std::to_string(order.uid));
  serve_soon();
  if (records_ == nullptr) return Result<void>();
  const auto uid = order.everybody ? std::nullopt : std::optional(order.uid);
  const LeaseQuota quota = order.everybody ? desk_.everybody() : desk_.quota_of(order.uid);
  records_->quota_set(uid, order.clear && uid ? nullptr : &quota);
  return records_->keep();
}

Result<ResourceManagerService::Forgotten> ResourceManagerService::forget(const std::string& node,
                                                                         const Caller& caller) {
  const auto named = book_.nodes().named(node);
  if (!named) return tl::unexpected<Error>(named.error());
  Forgotten forgotten;
  for (const NodeNumber number : *named) {
    if (book_.nodes().is_up(number)) {
      ++forgotten.up;
      continue;
    }
    links_.erase(number);
    const std::string node_id = book_.nodes().offer(number)->node_id;
    const auto leases = static_cast<std::uint32_t>(book_.forget_lost(number).value_or(0));
    drain_waits_.settle(number, {node_id, wire::DrainEnd::LOST, {}, leases});
    forgotten.leases += leases;
    ++forgotten.nodes;
  }
  if (forgotten.nodes == 0) {
    return fail(ErrorKind::kInvalid, "node " + node +
                                         " is not lost and is not forgotten; give it back with "
                                         "`sublet drain " +
                                         node + "`");
  }
  base::log().info("{} forgets {} lost nodes named {}, with {} leases", to_string(caller),
                   forgotten.nodes, node, forgotten.leases);
  return forgotten;
}

}  // namespace sublet::manager
