// Leases on their way: reserved, announced to their nodes, kept on disk, or waiting for cores.

#include <base/log.hpp>
#include <common/async.hpp>
#include <common/messages.hpp>
#include <resource_manager/resource_manager_service.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <utility>

namespace sublet::manager {
namespace {

/// How often a lease is placed anew, each time without the nodes that did not take it.
constexpr unsigned kMaxPlacements = 8;
/// Of the refusals that a client is told.
constexpr std::size_t kMaxRefusals = 4;
/// A request that no node has taken waits so long at least.
constexpr milliseconds kAskNodesAgain{1000};
/// Of one lease, at one time.
constexpr std::size_t kMaxAnnouncements = 64;
/// Else Cap'n Proto takes 8 KiB for a call.
constexpr capnp::MessageSize kSmallLeaseCall{64, 1};

}  // namespace

/// One lease on its way to its nodes.
struct ResourceManagerService::Attempt {
  LeaseRequest request;
  Requester requester;
  std::set<NodeNumber> excluded;
  std::vector<std::string> refusals;
  unsigned placements = 0;
  // Of the current placement:
  bool failed = false;
  std::vector<SealedTerms> grants;
  std::size_t next = 0;  ///< To be announced.
  // Of one that may wait:
  Time asked{};
  std::optional<Time> first_since{};  ///< See WaitingRequest.
  std::optional<LeaseId> waiting{};   ///< Its number, while it waits.
  bool abandoned = false;             ///< Nobody waits for it any more.

  void take(std::vector<GrantTerms> reserved) {
    grants.clear();
    for (GrantTerms& terms : reserved) grants.push_back({std::move(terms), {}});
  }
};

kj::Promise<ResourceManagerService::Granted> ResourceManagerService::lease(LeaseRequest request,
                                                                           Requester requester) {
  if (records_ != nullptr) {
    if (auto ready = records_->ready(); !ready) {
      return Granted(tl::unexpected<Error>(std::move(ready.error())));
    }
  }
  auto state = std::make_shared<Attempt>();
  state->request = std::move(request);
  state->requester = std::move(requester);
  state->asked = now();
  if (state->request.wait.count() == 0) return attempt(state);
  // What goes on between the book and its nodes goes on to its end, whether somebody waits for it
  // or not; only the wait itself can be given up.
  auto answer = kj::newPromiseAndFulfiller<Granted>();
  auto fulfiller =
      std::make_shared<kj::Own<kj::PromiseFulfiller<Granted>>>(kj::mv(answer.fulfiller));
  tasks_.add(attempt(state).then(
      [this, state, fulfiller](Granted&& granted) {
        if (granted && !(*fulfiller)->isWaiting()) {
          send(book_.withdraw(granted->front().terms.key.lease, now()));
          return;
        }
        (*fulfiller)->fulfill(std::move(granted));
      },
      [fulfiller](kj::Exception&& exception) { (*fulfiller)->reject(kj::mv(exception)); }));
  return answer.promise.attach(kj::defer([self = kj::addRef(*this), state]() mutable {
    state->abandoned = true;
    if (!state->waiting) return;
    // What waits for it is seen to by the next tick: this may be the end of the event loop.
    self->desk_.leave(*state->waiting, self->now());
    self->abandoned_.push_back(*state->waiting);
  }));
}

kj::Promise<ResourceManagerService::Granted> ResourceManagerService::attempt(
    const std::shared_ptr<Attempt>& state) {
  // What has just come free is not for who comes just now.
  if (book_.take_freed()) serve();
  auto grants = desk_.reserve(state->request, state->requester, now(), state->excluded);
  if (!grants) {
    const bool waits = grants.error().kind() == ErrorKind::kOverloaded && may_wait(*state);
    return waits ? wait(state, grants.error()) : refuse(*state, grants.error());
  }
  state->take(std::move(*grants));
  return announce_all(state);
}

bool ResourceManagerService::may_wait(const Attempt& attempt) const {
  return !attempt.abandoned && now() < attempt.asked + attempt.request.wait;
}

kj::Promise<ResourceManagerService::Granted> ResourceManagerService::refuse(Attempt& attempt,
                                                                            const Error& error) {
  std::string text = error.what();
  for (const std::string& refusal : attempt.refusals) text += "; " + refusal;
  base::log().info("refused {} ({}): {}", attempt.requester.owner,
                   to_string(attempt.requester.caller), text);
  return Granted(tl::unexpected<Error>(Error(error.kind(), text)));
}

/// Tells the nodes of what has been reserved.
kj::Promise<ResourceManagerService::Granted> ResourceManagerService::announce_all(
    const std::shared_ptr<Attempt>& state) {
  ++state->placements;
  state->failed = false;
  if (records_ != nullptr) records_->numbered(state->grants.front().terms.key.lease);
  const std::size_t lines = std::min(kMaxAnnouncements, state->grants.size());
  state->next = 0;
  auto told = kj::heapArrayBuilder<kj::Promise<void>>(lines);
  for (std::size_t i = 0; i < lines; ++i) told.add(announce_next(state));
  return kj::joinPromises(told.finish()).then([this, state]() mutable -> kj::Promise<Granted> {
    if (!state->failed) return keep(state);
    send(book_.withdraw(state->grants.front().terms.key.lease, now()));
    if (state->placements < kMaxPlacements) return attempt(state);
    const Error none(ErrorKind::kOverloaded, "no placement of the lease was accepted by its nodes");
    return may_wait(*state) ? wait(state, none) : refuse(*state, none);
  });
}

// ---- waiting ----

kj::Promise<ResourceManagerService::Granted> ResourceManagerService::wait(
    const std::shared_ptr<Attempt>& state, const Error& why) {
  // Nodes that did not take it may do so by then, not at once.
  const bool again = std::exchange(state->placements, 0) > 0;
  state->excluded.clear();
  const LeaseId number = book_.new_number();
  const auto added = desk_.wait({.number = number,
                                 .request = state->request,
                                 .requester = state->requester,
                                 .asked = state->asked,
                                 .deadline = state->asked + state->request.wait,
                                 .first_since = state->first_since,
                                 .not_before = again ? now() + kAskNodesAgain : Time{}},
                                now());
  if (!added) {
    return refuse(
        *state, Error(added.error().kind(), std::string(why.what()) + "; " + added.error().what()));
  }
  state->waiting = number;
  auto turn = kj::newPromiseAndFulfiller<Result<void>>();
  waiters_.emplace(number, Waiter{state, kj::mv(turn.fulfiller)});
  base::log().info("{} ({}) waits for {} ms as number {}: {}", state->requester.owner,
                   to_string(state->requester.caller), state->request.wait.count(),
                   manager::number(number), why.what());
  return turn.promise.then([this, state](Result<void>&& served) -> kj::Promise<Granted> {
    return served ? announce_all(state) : refuse(*state, served.error());
  });
}

bool ResourceManagerService::give_up_waiting(LeaseId number, const Error& error) {
  const auto waiter = waiters_.find(number);
  if (waiter == waiters_.end()) return false;
  desk_.leave(number, now());
  waiter->second.attempt->waiting.reset();
  waiter->second.turn->fulfill(Result<void>(tl::unexpected<Error>(error)));
  waiters_.erase(waiter);
  serve_soon();  // it may have been in the way of others
  return true;
}

/// Once all that can happen now has happened.
void ResourceManagerService::serve_soon() {
  if (waiters_.empty() || std::exchange(serves_soon_, true)) return;
  tasks_.add(kj::evalLater([this] {
    serves_soon_ = false;
    serve();
  }));
}

void ResourceManagerService::serve() {
  if (waiters_.empty() || (records_ != nullptr && !records_->ready())) return;
  for (LeaseDesk::Served& served : desk_.serve(now())) {
    const auto waiter = waiters_.find(served.request.number);
    Attempt& attempt = *waiter->second.attempt;
    attempt.take(std::move(served.grants));
    attempt.first_since = served.request.first_since;
    attempt.waiting.reset();
    waiter->second.turn->fulfill(Result<void>());
    waiters_.erase(waiter);
  }
}

/// All nodes hold their grants: answers once the records do too.
kj::Promise<ResourceManagerService::Granted> ResourceManagerService::keep(
    const std::shared_ptr<Attempt>& state) {
  auto kept = records_ == nullptr ? kj::Promise<Result<void>>(Result<void>{}) : records_->keep();
  return kept.then([this, state](Result<void>&& done) -> Granted {
    const LeaseId id = state->grants.front().terms.key.lease;
    if (!done) {
      send(book_.withdraw(id, now()));
      base::log().warn("lease {} is taken back: {}", number(id), done.error().what());
      return tl::unexpected<Error>(std::move(done.error()));
    }
    const LeaseRequest& request = state->request;
    base::log().info("lease {} of {} cores and {} GPUs in {} grants for {} ({})", number(id),
                     std::uint64_t{request.cores} * request.cores_per_worker * request.parts,
                     std::uint64_t{request.cores} * request.gpus_per_worker * request.parts,
                     state->grants.size(), state->requester.owner,
                     to_string(state->requester.caller));
    return std::move(state->grants);
  });
}

/// One after the other; several lines of them go on side by side, so that a lease of many parts
/// neither holds up the loop nor takes memory for all of its messages at once.
kj::Promise<void> ResourceManagerService::announce_next(const std::shared_ptr<Attempt>& state) {
  // What no node has been told of is nowhere, and what was told is withdrawn when one has failed.
  while (state->failed && state->next < state->grants.size()) {
    book_.refused(state->grants[state->next++].terms.key);
  }
  if (state->next == state->grants.size()) return kj::READY_NOW;
  return announce(state, state->next++).then([this, state] { return announce_next(state); });
}

kj::Promise<void> ResourceManagerService::announce(const std::shared_ptr<Attempt>& state,
                                                   std::size_t at) {
  const GrantTerms& terms = state->grants[at].terms;
  const GrantKey key = terms.key;
  const auto link = links_.find(key.node);
  if (link == links_.end()) {
    note(*state, key, Answer::kUnknown, "it is not connected");
    return kj::READY_NOW;
  }
  auto request = link->second.control.grantRequest(kSmallLeaseCall);
  write(request.initGrant(), terms);
  auto sent = request.send().then(
      [](auto&& response) -> std::optional<Error> { return wire::failure_of(response); });
  return within(timer_, wire::kManagerCall, kj::mv(sent), "the grant")
      .then(
          [this, state, key, at](std::optional<Error>&& refusal) {
            note(*state, key, refusal ? Answer::kRefused : Answer::kConfirmed,
                 refusal ? refusal->what() : "");
            if (!state->failed) seal(*state, state->grants[at]);
          },
          [this, state, key](kj::Exception&& exception) {
            note(*state, key, Answer::kUnknown, text_of(exception));
          });
}

/// One at a time, as the nodes answer: signatures of a large lease do not hold up the loop.
void ResourceManagerService::seal(Attempt& attempt, SealedTerms& grant) const {
  const GrantKey& key = grant.terms.key;
  grant.sealed = manager::seal(
      grant.terms, {book_.nodes().offer(key.node)->key, attempt.request.holders[key.part]}, now(),
      key_);
}

/// What a node said to a grant. After kUnknown the node may hold it: its cores stay taken until the
/// node says otherwise.
void ResourceManagerService::note(Attempt& attempt, const GrantKey& key, Answer answer,
                                  const std::string& text) {
  if (answer == Answer::kConfirmed) {
    book_.confirmed(key, now());
    // A node that was lost or left in the meantime took the grant with it.
    if (book_.grants().state(key)) return;
  }
  if (answer == Answer::kRefused) {
    book_.refused(key);
    serve_soon();
  }
  attempt.failed = true;
  if (!attempt.excluded.insert(key.node).second) return;
  const std::string said = "node " + name_of(key.node) + " did not take its share: " +
                           (text.empty() ? std::string("it left") : text);
  base::log().warn("lease {}: {}", number(key.lease), said);
  if (attempt.refusals.size() < kMaxRefusals) attempt.refusals.push_back(said);
}

void ResourceManagerService::handle_dropped(LeaseId lease) {
  send(book_.handle_dropped(lease, now()));
}

kj::Promise<Result<Time>> ResourceManagerService::extend(LeaseId lease, Token token,
                                                         milliseconds duration) {
  if (auto allowed = desk_.may_extend(lease, duration, now()); !allowed) {
    return Result<Time>(fail(
        allowed.error().kind(),
        "lease " + std::to_string(number(lease)) + " is not extended: " + allowed.error().what()));
  }
  const auto extension = book_.extend(lease, std::as_bytes(std::span(token)), duration, now());
  if (!extension) return Result<Time>(tl::unexpected<Error>(extension.error()));
  auto failures = std::make_shared<std::string>();
  auto told = kj::heapArrayBuilder<kj::Promise<void>>(extension->grants.size());
  for (const GrantKey& key : extension->grants) {
    const auto link = links_.find(key.node);
    if (link == links_.end()) {
      *failures += "; node " + name_of(key.node) + " is not connected";
      told.add(kj::READY_NOW);
      continue;
    }
    auto request = link->second.control.extendRequest(kSmallLeaseCall);
    request.setLeaseId(number(key.lease));
    request.setPart(key.part);
    request.setExpiresUnixMs(to_unix_ms(extension->expires));
    auto sent = request.send().then(
        [](auto&& response) -> std::optional<Error> { return wire::failure_of(response); });
    const auto failed = [failures, name = name_of(key.node)](const std::string& why) {
      *failures += "; node " + name + ": " + why;
    };
    told.add(within(timer_, wire::kManagerCall, kj::mv(sent), "the extension")
                 .then(
                     [failed](std::optional<Error>&& refusal) {
                       if (refusal) failed(refusal->what());
                     },
                     [failed](kj::Exception&& exception) { failed(text_of(exception)); }));
  }
  return kj::joinPromises(told.finish())
      .then([failures, lease, expires = extension->expires]() -> Result<Time> {
        if (failures->empty()) return expires;
        return fail(ErrorKind::kDisconnected, "lease " + std::to_string(number(lease)) +
                                                  " is extended only in part" + *failures);
      });
}

}  // namespace sublet::manager
