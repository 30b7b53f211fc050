#include <base/log.hpp>
#include <common/async.hpp>
#include <common/auth/authorize.hpp>
#include <common/messages.hpp>
#include <resource_manager/node_registration_server.hpp>
#include <resource_manager/resource_manager_server.hpp>
#include <sublet/version.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

namespace sublet::manager {
namespace {

constexpr std::size_t kMaxName = 255;
constexpr std::size_t kMaxHeldGrants = 8192;  ///< Of one node.

using Service = ResourceManagerService;

/// Holding it keeps the right to grants that nobody has claimed.
class LeaseHandleServer final : public wire::LeaseHandle::Server {
 public:
  LeaseHandleServer(kj::Own<Service> service, LeaseId lease, const std::shared_ptr<Peer>& peer)
      : service_(kj::mv(service)), lease_(lease), place_(hold_place(peer)) {}
  ~LeaseHandleServer() noexcept(false) { service_->handle_dropped(lease_); }
  KJ_DISALLOW_COPY(LeaseHandleServer);

 private:
  kj::Own<Service> service_;
  LeaseId lease_;
  std::shared_ptr<void> place_;
};

class ResourceManagerServer final : public wire::ResourceManager::Server {
 public:
  ResourceManagerServer(kj::Own<Service> service, std::shared_ptr<Peer> peer)
      : service_(kj::mv(service)),
        peer_(std::move(peer)),
        caller_(peer_ == nullptr ? this_process() : peer_->caller()) {}
  KJ_DISALLOW_COPY(ResourceManagerServer);

 protected:
  kj::Promise<void> lease(LeaseContext context) override {
    const auto request = context.getParams().getRequest();
    auto checked = wire::read(request);
    if (!checked) {
      wire::write(context.getResults().initFailure(), checked.error());
      return kj::READY_NOW;
    }
    if (refused(context, checked->priority > 0 ? Right::kPriority : Right::kLease)) {
      return kj::READY_NOW;
    }
    // A client that goes away waits no more.
    if (checked->wait.count() > 0) context.allowCancellation();
    Requester requester;
    requester.caller = caller_;
    requester.node_id = wire::cut_text(wire::to_string(request.getClientNodeId()), 2 * kMaxName);
    requester.owner =
        owner_text(caller_, wire::cut_text(wire::to_string(request.getOwner()), kMaxName));
    requester.slurm_job = request.getSlurmJob();
    const bool waits = checked->wait.count() > 0;
    auto leased = service_->lease(std::move(*checked), std::move(requester))
                      .then([this, context](Result<std::vector<SealedTerms>>&& grants) mutable {
                        answer(context, std::move(grants));
                      });
    // Its connection is not closed for others.
    if (waits) return leased.attach(hold_place(peer_));
    return leased;
  }

  kj::Promise<void> extend(ExtendContext context) override {
    const auto params = context.getParams();
    const auto data = params.getToken();
    const milliseconds most = wire::kMaxLeaseDuration;
    if (data.size() != wire::kTokenBytes ||
        params.getDurationMs() > static_cast<std::uint64_t>(most.count())) {
      wire::write(context.getResults().initFailure(),
                  Error(ErrorKind::kInvalid,
                        "an extension needs a token of 16 bytes and a duration of at most " +
                            std::to_string(most.count()) + " ms"));
      return kj::READY_NOW;
    }
    Token token{};
    std::memcpy(token.data(), data.begin(), token.size());
    const milliseconds duration(static_cast<std::int64_t>(params.getDurationMs()));
    if (refused_for(context, LeaseId{params.getLeaseId()})) return kj::READY_NOW;
    return service_->extend(LeaseId{params.getLeaseId()}, token, duration)
        .then([context](Result<Time>&& expires) mutable {
          if (expires) {
            context.getResults().setExpiresUnixMs(to_unix_ms(*expires));
          } else {
            wire::write(context.getResults().initFailure(), expires.error());
          }
        });
  }

  kj::Promise<void> nodes(NodesContext context) override {
    if (refused(context, Right::kViewNodes)) return kj::READY_NOW;
    const auto views = service_->book().nodes().views(service_->now());
    auto nodes = context.getResults().initNodes(static_cast<unsigned>(views.size()));
    for (unsigned i = 0; i < nodes.size(); ++i) wire::write(nodes[i], views[i]);
    return kj::READY_NOW;
  }

  kj::Promise<void> leases(LeasesContext context) override {
    if (refused(context, Right::kLease)) return kj::READY_NOW;
    std::optional<std::uint32_t> of;
    if (!authorize(caller_, Right::kViewOthers, service_->operators())) of = caller_.uid;
    auto views = service_->book().grants().leases(context.getParams().getIncludeEnded(), of);
    auto waiting = service_->desk().waiting(of, service_->now());
    std::move(waiting.begin(), waiting.end(), std::back_inserter(views));
    auto leases = context.getResults().initLeases(static_cast<unsigned>(views.size()));
    for (unsigned i = 0; i < leases.size(); ++i) wire::write(leases[i], views[i]);
    return kj::READY_NOW;
  }

  kj::Promise<void> register_(RegisterContext context) override {
    const auto params = context.getParams();
    const auto refuse = [&context](const Error& error) {
      base::log().warn("refused a registration: {}", error.what());
      wire::write(context.getResults().initFailure(), error);
    };
    if (auto may = authorize(caller_, Right::kRegister, service_->operators()); !may) {
      refuse(may.error());
      return kj::READY_NOW;
    }
    const auto offer = read(params.getNode());
    if (!offer) {
      refuse(offer.error());
      return kj::READY_NOW;
    }
    std::vector<GrantTerms> held;
    if (params.getHeld().size() > kMaxHeldGrants) {
      refuse(Error(ErrorKind::kInvalid, "node " + offer->name + " holds too many grants"));
      return kj::READY_NOW;
    }
    for (const auto spec : params.getHeld()) {
      auto terms = read_terms(spec);
      if (!terms) {
        refuse(terms.error());
        return kj::READY_NOW;
      }
      held.push_back(std::move(*terms));
    }
    std::vector<EndedGrant> ended;
    if (params.getEnded().size() > wire::kMaxUnheardEnds) {
      refuse(Error(ErrorKind::kInvalid, "node " + offer->name + " tells too many ends of grants"));
      return kj::READY_NOW;
    }
    for (const auto told : params.getEnded()) {
      auto grant = read(told);
      if (!grant) {
        refuse(grant.error());
        return kj::READY_NOW;
      }
      ended.push_back(std::move(*grant));
    }
    const auto id = service_->register_node(*offer, std::move(held), std::move(ended),
                                            params.getControl(), peer_);
    if (!id) {
      refuse(id.error());
      return kj::READY_NOW;
    }
    auto results = context.getResults();
    results.setRegistration(make_node_registration(kj::addRef(*service_), *id, peer_));
    results.setHeartbeatMs(static_cast<std::uint32_t>(milliseconds(wire::kHeartbeat).count()));
    return kj::READY_NOW;
  }

  kj::Promise<void> drain(DrainContext context) override {
    if (refused(context, Right::kDrain)) return kj::READY_NOW;
    const auto params = context.getParams();
    const auto limit = std::min<std::uint64_t>(
        params.getLimitMs(), static_cast<std::uint64_t>(milliseconds(wire::kDrainMax).count()));
    // A caller that goes away waits no more; the node drains on.
    if (params.getWait()) context.allowCancellation();
    return service_
        ->drain({read_node(params), milliseconds(static_cast<std::int64_t>(limit)),
                 wire::cut_text(wire::to_string(params.getReason()), wire::kMaxText),
                 params.getWait(), params.getOwnNotice()},
                caller_)
        .then([context](Result<Service::DrainReports>&& reports) mutable {
          if (!reports) {
            wire::write(context.getResults().initFailure(), reports.error());
            return;
          }
          auto drained = context.getResults().initDrained(static_cast<unsigned>(reports->size()));
          for (unsigned i = 0; i < drained.size(); ++i) wire::write(drained[i], (*reports)[i]);
        });
  }

  kj::Promise<void> cancelDrain(CancelDrainContext context) override {
    if (refused(context, Right::kDrain)) return kj::READY_NOW;
    return service_->cancel_drain(read_node(context.getParams()), caller_)
        .then([context](Result<void>&& done) mutable {
          if (!done) wire::write(context.getResults().initFailure(), done.error());
        });
  }

  kj::Promise<void> release(ReleaseContext context) override {
    const auto params = context.getParams();
    if (refused_for(context, LeaseId{params.getLeaseId()})) return kj::READY_NOW;
    return service_
        ->release(LeaseId{params.getLeaseId()},
                  wire::cut_text(wire::to_string(params.getReason()), wire::kMaxText), caller_,
                  params.getNotice())
        .then([context](Result<milliseconds>&& left) mutable {
          if (left) {
            context.getResults().setLeftMs(static_cast<std::uint64_t>(left->count()));
          } else {
            wire::write(context.getResults().initFailure(), left.error());
          }
        });
  }

  kj::Promise<void> setQuota(SetQuotaContext context) override {
    if (refused(context, Right::kSetQuota)) return kj::READY_NOW;
    const auto params = context.getParams();
    wire::QuotaOrder order;
    order.everybody = params.getEverybody();
    order.uid = params.getUid();
    order.clear = params.getClear();
    order.set_cores = params.getSetCores();
    order.set_core_seconds = params.getSetCoreSeconds();
    order.quota = wire::read(params.getQuota());
    return service_->set_quota(order, caller_).then([context](Result<void>&& done) mutable {
      if (!done) wire::write(context.getResults().initFailure(), done.error());
    });
  }

  kj::Promise<void> quotas(QuotasContext context) override {
    if (refused(context, Right::kLease)) return kj::READY_NOW;
    std::optional<std::uint32_t> of;
    if (!authorize(caller_, Right::kViewOthers, service_->operators())) of = caller_.uid;
    auto infos = service_->desk().quotas(of, service_->now());
    auto quotas = context.getResults().initQuotas(static_cast<unsigned>(infos.size()));
    for (unsigned i = 0; i < quotas.size(); ++i) {
      if (!infos[i].everybody && infos[i].uid != kUnknownUid)
        infos[i].user = user_name(infos[i].uid);
      wire::write(quotas[i], infos[i]);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> forget(ForgetContext context) override {
    if (refused(context, Right::kForget)) return kj::READY_NOW;
    const auto forgotten = service_->forget(read_node(context.getParams()), caller_);
    auto results = context.getResults();
    if (!forgotten) {
      wire::write(results.initFailure(), forgotten.error());
      return kj::READY_NOW;
    }
    results.setForgotten(forgotten->nodes);
    results.setLeases(forgotten->leases);
    results.setUp(forgotten->up);
    return kj::READY_NOW;
  }

  kj::Promise<void> ledger(LedgerContext context) override {
    if (refused(context, Right::kLease)) return kj::READY_NOW;
    auto filter = wire::read(context.getParams().getQuery());
    if (!filter) {
      wire::write(context.getResults().initFailure(), filter.error());
      return kj::READY_NOW;
    }
    if (!authorize(caller_, Right::kViewLedger, service_->operators())) {
      filter->only_uid = caller_.uid;
    }
    return service_->read_ledger(std::move(*filter))
        .then([context](Result<wire::LedgerPage>&& page) mutable {
          auto results = context.getResults();
          if (!page) {
            wire::write(results.initFailure(), page.error());
            return;
          }
          auto entries = results.initEntries(static_cast<unsigned>(page->rows.size()));
          for (unsigned i = 0; i < entries.size(); ++i) wire::write(entries[i], page->rows[i]);
          results.setNext(page->next);
        });
  }

  kj::Promise<void> verifyLedger(VerifyLedgerContext context) override {
    if (refused(context, Right::kViewLedger)) return kj::READY_NOW;
    return service_->verify_ledger().then([context](Result<wire::LedgerCheck>&& check) mutable {
      auto results = context.getResults();
      if (!check) {
        wire::write(results.initFailure(), check.error());
        return;
      }
      results.setGrants(check->grants);
      results.setFound(check->found);
      auto problems = results.initProblems(static_cast<unsigned>(check->problems.size()));
      for (unsigned i = 0; i < problems.size(); ++i) problems.set(i, check->problems[i]);
    });
  }

  kj::Promise<void> connections(ConnectionsContext context) override {
    if (peer_ == nullptr || peer_->place() == nullptr) return kj::READY_NOW;
    const ConnectionTable::State& state = peer_->place()->table().state();
    auto results = context.getResults();
    results.setNow(state.connections);
    results.setLimit(state.limit);
    results.setClosed(state.closed);
    results.setRefused(state.refused);
    return kj::READY_NOW;
  }

  kj::Promise<void> clock(ClockContext context) override {
    auto results = context.getResults();
    results.setUnixMs(to_unix_ms(service_->now()));
    results.setGrantKey(wire::to_data(std::as_bytes(std::span(service_->grant_key()))));
    results.setToleranceMs(static_cast<std::uint64_t>(service_->clock_tolerance().count()));
    return kj::READY_NOW;
  }

  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion(SUBLET_VERSION);
    context.getResults().setInstance(service_->instance());
    return kj::READY_NOW;
  }

 private:
  template <class Params>
  static std::string read_node(const Params& params) {
    return wire::cut_text(wire::to_string(params.getNode()), kMaxName);
  }

  /// True when the caller has no such right: then the answer says so.
  template <class Context>
  bool refused(Context& context, Right right) {
    const auto allowed = authorize(caller_, right, service_->operators());
    if (!allowed) wire::write(context.getResults().initFailure(), allowed.error());
    return !allowed;
  }

  /// The same for what a lease's owner may do with it, and operators with all. A lease that is not
  /// known is refused by who looks for it.
  template <class Context>
  bool refused_for(Context& context, LeaseId lease) {
    const auto owner = service_->owner_uid(lease);
    const auto allowed =
        owner ? authorize_for(caller_, *owner, Right::kReleaseOthers, service_->operators())
              : authorize(caller_, Right::kLease, service_->operators());
    if (!allowed) wire::write(context.getResults().initFailure(), allowed.error());
    return !allowed;
  }

  void answer(LeaseContext& context, Result<std::vector<SealedTerms>>&& grants) {
    auto results = context.getResults();
    if (!grants) {
      wire::write(results.initFailure(), grants.error());
      return;
    }
    results.setHandle(
        kj::heap<LeaseHandleServer>(kj::addRef(*service_), grants->front().terms.key.lease, peer_));
    auto list = results.initGrants(static_cast<unsigned>(grants->size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      const SealedTerms& grant = (*grants)[i];
      const NodeOffer* const offer = service_->book().nodes().offer(grant.terms.key.node);
      wire::write(list[i], to_grant(grant.terms, offer == nullptr ? NodeOffer{} : *offer));
      list[i].setSealed(wire::to_data(grant.sealed));
    }
  }

  kj::Own<Service> service_;
  std::shared_ptr<Peer> peer_;
  Caller caller_;
};

}  // namespace

wire::ResourceManager::Client make_resource_manager(kj::Own<ResourceManagerService> service,
                                                    std::shared_ptr<Peer> peer) {
  return kj::heap<ResourceManagerServer>(kj::mv(service), std::move(peer));
}

}  // namespace sublet::manager
