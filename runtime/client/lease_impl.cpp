#include <base/function_records.hpp>
#include <base/log.hpp>
#include <client/application.hpp>
#include <client/control_thread.hpp>
#include <client/lease_impl.hpp>
#include <wire/signed_grant.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <set>
#include <utility>

namespace sublet::client {
namespace {

/// The shortest time for which cores are leased in place of others.
constexpr std::chrono::seconds kShortestLease{1};

/// Within this time its manager says how an executor ended.
constexpr std::chrono::milliseconds kFateAnswered{500};

/// The pause between two looks for a node that is waited for.
constexpr std::chrono::milliseconds kNodeLook{5};

std::int64_t now_unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string place_of(const NodeShare& share, std::uint32_t worker) {
  return share.grant.node_name + " cpu " + share.cpusets[worker];
}

}  // namespace

Result<std::shared_ptr<LeaseImpl>> LeaseImpl::create(std::shared_ptr<ControlPlane> control,
                                                     std::vector<std::unique_ptr<NodeLink>> nodes,
                                                     std::shared_ptr<LeaseEvents> events,
                                                     const LeaseRequest& request,
                                                     std::shared_ptr<TraceBuffer> trace) {
  auto arena = transport::Arena::create(nodes.front()->grant().arena_bytes);
  if (!arena) return tl::unexpected<Error>(arena.error());
  std::shared_ptr<LeaseImpl> lease(new LeaseImpl(std::move(control), std::move(nodes),
                                                 std::move(events), request, std::move(trace),
                                                 std::move(*arena)));
  if (auto connected = lease->connect_all(); !connected) {
    return tl::unexpected<Error>(connected.error());
  }
  return lease;
}

LeaseImpl::LeaseImpl(std::shared_ptr<ControlPlane> control,
                     std::vector<std::unique_ptr<NodeLink>> nodes,
                     std::shared_ptr<LeaseEvents> events, const LeaseRequest& request,
                     std::shared_ptr<TraceBuffer> trace, std::shared_ptr<transport::Arena> arena)
    : control_(std::move(control)),
      events_(std::move(events)),
      trace_(std::move(trace)),
      arena_(std::move(arena)),
      request_(request),
      nodes_(std::move(nodes)),
      workers_(events_, arena_, trace_.get(), *functions_,
               {.replace = request.replace, .patience = request.worker_wait}),
      recovery_(background_, events_, arena_, control_->timeouts()),
      replacement_(background_, events_, finder()) {
  const Grant& grant = nodes_.front()->grant();
  id_ = grant.lease_id;
  expires_unix_ms_ = grant.expires_unix_ms;
  request_.parts = 1;
  request_.wait = {};  // what is leased in place of others is asked for again and again
  request_.slots = grant.slots;
  request_.cores_per_worker = grant.cores_per_worker;
  request_.gpus_per_worker = grant.gpus_per_worker;
  request_.arena_bytes = grant.arena_bytes;
  workers_.set_mend([this](base::Ticks now) { mend(now); });
}

LeaseImpl::~LeaseImpl() {
  release();
}

Result<void> LeaseImpl::connect_all() {
  std::vector<Route> routes;
  std::vector<transport::Target> targets;
  for (const auto& node : nodes_) {
    const auto& share = node->share();
    for (std::uint32_t i = 0; i < share->cpusets.size(); ++i) {
      auto route = route_to(*share, i, control_->timeouts());
      if (!route) return tl::unexpected<Error>(route.error());
      targets.push_back(route->target);
      routes.push_back(std::move(*route));
      const auto index = static_cast<std::uint32_t>(workers_.size());
      if (trace_) {
        trace_->workers.push_back("worker " + std::to_string(index) + " on " + place_of(*share, i));
      }
      workers_.add(workers_.make_link(share, index, i));
    }
  }
  auto channels = transport::connect(targets, arena_);
  for (std::size_t i = 0; i < channels.size(); ++i) {
    WorkerLink& link = *workers_.links()[i];
    if (!channels[i]) {
      await_fate(*link.share()->state, routes[i].generation);
      return tl::unexpected<Error>(
          not_connected(*link.share(), link.worker_on_node(), routes[i], channels[i].error()));
    }
    link.take(std::move(*channels[i]), routes[i]);
  }
  workers_.reserve_calls();
  if (trace_) trace_->lease_id = id_;
  return {};
}

/// An executor that does not take connections may have ended: its manager is about to say why.
void LeaseImpl::await_fate(const NodeState& state, std::uint32_t generation) {
  const auto deadline = base::Deadline::after(kFateAnswered);
  while (state.fate(generation).text.empty() && !state.lost() && !deadline.passed()) {
    events_->wait(std::min<std::chrono::nanoseconds>(deadline.left(), kNodeLook));
    events_->stay_attentive();
  }
}

Result<std::uint16_t> LeaseImpl::open(const std::string& path, const std::string& name,
                                      const FunctionOptions& options) {
  const Workers::Turn turn(workers_);
  if (released_) return fail(ErrorKind::kInvalid, "the lease was released");
  if (forked()) return fail(ErrorKind::kInvalid, base::kForkedText);
  auto prepared = functions_->prepare(path, name, options);
  if (!prepared) return tl::unexpected<Error>(prepared.error());
  return open_prepared(*prepared);
}

Result<std::uint16_t> LeaseImpl::open_own(const sublet_function_record& record,
                                          const FunctionOptions& options) {
  const bool plain = options.timeout.count() == 0;
  if (const auto known = own_functions_.find(&record); plain && known != own_functions_.end()) {
    return known->second;
  }
  const auto timed = std::pair(&record, options.timeout);
  if (const auto known = own_timed_functions_.find(timed);
      !plain && known != own_timed_functions_.end()) {
    return known->second;
  }
  if (released_) return fail(ErrorKind::kInvalid, "the lease was released");
  if (forked()) return fail(ErrorKind::kInvalid, base::kForkedText);
  const auto application = this_application();
  if (!application) return tl::unexpected<Error>(application.error());
  auto prepared = functions_->prepare_own(**application, base::record_name(record), options);
  if (!prepared) return tl::unexpected<Error>(prepared.error());
  auto index = open_prepared(*prepared);
  if (index && plain) own_functions_.emplace(&record, *index);
  if (index && !plain) own_timed_functions_.emplace(timed, *index);
  return index;
}

Result<std::uint16_t> LeaseImpl::open_prepared(const Functions::Prepared& prepared) {
  const OpenFunction& function = prepared.function;
  if (!prepared.is_new) return function.request.index;
  const std::string& name = function.shown_name;
  await_node();
  std::size_t opened_on = 0;
  for (const auto& node : nodes_) {
    if (node->state().lost()) continue;
    auto opened = Functions::open_on(*node, function);
    // One that left meanwhile needs it no more.
    if (!opened && !node->state().lost() && !node->state().leaving()) {
      return tl::unexpected<Error>(opened.error());
    }
    if (opened) ++opened_on;
  }
  if (opened_on == 0) {
    const NodeState& state = *workers_.links().back()->share()->state;
    return fail(ErrorKind::kDisconnected,
                "opening function '" + name + "': no node of the lease is left: " +
                    (state.lost() ? state.reason() : "its node is being given back"));
  }
  functions_->add(function);
  if (trace_) trace_->functions.push_back(name);
  return function.request.index;
}

void LeaseImpl::await_node() {
  const auto deadline = base::Deadline::after(control_->timeouts().exchange);
  for (;;) {
    if (events_->attention()) workers_.attend();
    const bool any = std::any_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
      return !node->state().lost() && !node->state().leaving();
    });
    const bool hope = request_.replace && std::any_of(workers_.links().begin(),
                                                      workers_.links().end(), [](const auto& link) {
                                                        return link->share()->state->departed();
                                                      });
    if (any || !hope || deadline.passed()) return;
    events_->wait(std::min<std::chrono::nanoseconds>(deadline.left(), kNodeLook));
    events_->stay_attentive();
  }
}

// ---- Mending ----

void LeaseImpl::mend(base::Ticks now) {
  recovery_.step(workers_, now);
  std::vector<std::uint32_t> places;
  for (const auto& link : workers_.links()) {
    if (link->to_be_replaced()) places.push_back(link->index());
  }
  forget_nodes();
  if (!request_.replace) return;
  if (auto found = replacement_.step(workers_, places.size(), now)) {
    adopt(std::move(*found), places);
  }
}

Replacement::Find LeaseImpl::finder() const {
  return [control = control_, events = events_, functions = functions_, arena = arena_,
          &request = request_, &expires = expires_unix_ms_](std::size_t most) -> Result<Standins> {
    LeaseRequest wanted = request;
    // As long as the lease itself.
    const auto left = std::chrono::milliseconds(expires.load() - now_unix_ms());
    wanted.duration = std::max(std::chrono::ceil<std::chrono::seconds>(left), kShortestLease);
    for (wanted.cores = static_cast<std::uint32_t>(most);; wanted.cores /= 2) {
      auto nodes = control->lease(wanted, events);
      if (nodes) {
        Standins found;
        found.nodes = std::move(*nodes);
        return prepare(std::move(found), most, *functions, control->timeouts(), arena);
      }
      const bool too_many = nodes.error().kind() == ErrorKind::kOverloaded;
      if (!too_many || wanted.cores == 1) return tl::unexpected<Error>(nodes.error());
    }
  };
}

void LeaseImpl::adopt(Standins found, const std::vector<std::uint32_t>& places) {
  if (found.functions < functions_->size()) {
    replacement_.prepare_again(std::move(found), [functions = functions_, control = control_,
                                                  arena = arena_](Standins again) {
      const std::size_t most = again.workers.size();
      return prepare(std::move(again), most, *functions, control->timeouts(), arena);
    });
    return;
  }
  std::size_t used = 0;
  for (Standins::Worker& worker : found.workers) {
    if (used == places.size()) break;
    const std::uint32_t index = places[used++];
    const auto& share = found.nodes[worker.node]->share();
    auto link = workers_.make_link(share, index, worker.worker_on_node);
    link->take(std::move(*worker.channel), worker.route);
    const std::string place = place_of(*share, worker.worker_on_node);
    if (trace_) trace_->workers[index] += ", later on " + place;
    base::log().info("lease {}: worker {} is on {} now", id_, index, place);
    workers_.replace(std::move(link));
  }
  for (auto& node : found.nodes) {
    expires_unix_ms_ = std::min(expires_unix_ms_.load(), node->grant().expires_unix_ms);
    nodes_.push_back(std::move(node));
  }
  forget_nodes();
}

void LeaseImpl::forget_nodes() {
  for (auto& node : nodes_) {
    const bool used =
        std::any_of(workers_.links().begin(), workers_.links().end(), [&](const auto& link) {
          return link->share() == node->share() && !(link->down() && node->state().departed());
        });
    if (used) continue;
    const bool left = std::any_of(workers_.links().begin(), workers_.links().end(),
                                  [&](const auto& link) { return link->share() == node->share(); });
    if (left && !node->state().gone() && !node->state().give_back()) continue;
    base::log().info("lease {}: giving node {} back", id_, node->grant().node_name);
    std::shared_ptr<NodeLink> gone = std::move(node);
    const bool later = background_.run([gone, past = past_]() {
      if (const auto used_there = gone->usage()) {
        const std::lock_guard lock(past->mutex);
        past->usage += *used_there;
      }
      gone->release();
    });
    if (!later) gone->release();
  }
  std::erase(nodes_, nullptr);
}

// ---- What blocks ----

WorkerInfo LeaseImpl::worker_info(std::size_t index) const {
  const Workers::Turn turn(workers_);
  if (index >= workers_.size()) return {};
  const WorkerLink& link = *workers_.links()[index];
  const NodeShare& share = *link.share();
  const std::uint32_t worker = link.worker_on_node();
  return {share.grant.node_name, share.cpusets[worker], to_string(link.kind()),
          worker < share.gpus.size() ? share.gpus[worker] : std::vector<std::string>()};
}

Result<void> LeaseImpl::extend(std::chrono::seconds duration) {
  const Workers::Turn turn(workers_);
  if (released_) return fail(ErrorKind::kInvalid, "the lease was released");
  if (forked()) return fail(ErrorKind::kInvalid, base::kForkedText);
  if (events_->attention()) workers_.attend();
  // Workers that came later are of leases of their own.
  std::set<std::uint64_t> extended;
  std::int64_t earliest = std::numeric_limits<std::int64_t>::max();
  for (const auto& node : nodes_) {
    if (node->state().lost() || node->state().leaving()) continue;
    const std::uint64_t lease = node->grant().lease_id;
    const bool direct = wire::is_direct(lease);
    if (!extended.insert(lease).second && !direct) continue;
    auto expires = direct ? node->extend(duration) : control_->extend(node->grant(), duration);
    if (!expires) return tl::unexpected<Error>(expires.error());
    earliest = std::min(earliest, *expires);
  }
  if (extended.empty()) {
    return fail(ErrorKind::kDisconnected, "all nodes of the lease have left or are lost");
  }
  expires_unix_ms_ = earliest;
  events_->extended();
  return {};
}

Result<Usage> LeaseImpl::usage() {
  const Workers::Turn turn(workers_);
  if (forked()) return fail(ErrorKind::kInvalid, base::kForkedText);
  if (events_->attention()) workers_.attend();
  background_.drain();
  Usage sum;
  {
    const std::lock_guard lock(past_->mutex);
    sum = past_->usage;
  }
  for (const auto& node : nodes_) {
    if (node->state().lost()) continue;
    auto usage = node->usage();
    if (!usage && node->state().lost()) continue;
    if (!usage) return tl::unexpected<Error>(usage.error());
    sum += *usage;
  }
  return sum;
}

void LeaseImpl::release() noexcept {
  if (forked()) return;
  const Workers::Turn turn(workers_);
  if (released_) return;
  released_ = true;
  workers_.stop("the lease was released");
  for (const auto& node : nodes_) node->release();
  workers_.close();
  // Workers that were asked for in place of others may be granted just now: they go back too.
  background_.drain();
  replacement_.abandon();
  control_->note_release();
}

}  // namespace sublet::client
