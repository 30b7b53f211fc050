#include <common/messages.hpp>
#include <resource_manager/node_registration_server.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <kj/debug.h>
#include <kj/string.h>

#include <utility>

namespace sublet::manager {
namespace {

class NodeRegistrationServer final : public wire::NodeRegistration::Server {
 public:
  NodeRegistrationServer(kj::Own<ResourceManagerService> service, const RegistrationId& id,
                         const std::shared_ptr<Peer>& peer)
      : service_(kj::mv(service)), id_(id), place_(hold_place(peer)) {}
  ~NodeRegistrationServer() noexcept(false) { service_->registration_dropped(id_); }
  KJ_DISALLOW_COPY(NodeRegistrationServer);

 protected:
  kj::Promise<void> heartbeat(HeartbeatContext context) override {
    const auto params = context.getParams();
    if (!service_->heartbeat(id_, {params.getDirectCores(), params.getDirectMemoryBytes(),
                                   params.getDirectGpus()})) {
      return KJ_EXCEPTION(DISCONNECTED, "this registration is void; register again");
    }
    context.getResults().setEndsKept(service_->ends_kept(id_));
    return kj::READY_NOW;
  }

  kj::Promise<void> claimed(ClaimedContext context) override {
    const auto params = context.getParams();
    service_->claimed(id_, LeaseId{params.getLeaseId()}, params.getPart());
    return kj::READY_NOW;
  }

  kj::Promise<void> ended(EndedContext context) override {
    const auto params = context.getParams();
    EndedGrant grant;
    if (params.hasGrant()) {
      auto terms = read_terms(params.getGrant());
      if (!terms) return KJ_EXCEPTION(FAILED, kj::str(terms.error().what()));
      grant.terms = std::move(*terms);
    }
    grant.terms.key = {LeaseId{params.getLeaseId()}, params.getPart(), id_.node};
    grant.reason = wire::cut_text(wire::to_string(params.getReason()), wire::kMaxText);
    grant.usage = wire::read(params.getUsage());
    service_->ended(id_, std::move(grant), params.hasGrant());
    return kj::READY_NOW;
  }

  kj::Promise<void> draining(DrainingContext) override {
    service_->draining(id_);
    return kj::READY_NOW;
  }

  kj::Promise<void> warm(WarmContext context) override {
    service_->warm(id_, context.getParams().getExecutors());
    return kj::READY_NOW;
  }

  kj::Promise<void> callTimes(CallTimesContext context) override {
    const auto times = read(context.getParams());
    if (!times) return KJ_EXCEPTION(FAILED, kj::str(times.error().what()));
    service_->call_times(id_, *times);
    return kj::READY_NOW;
  }

  kj::Promise<void> leave(LeaveContext context) override {
    const auto params = context.getParams();
    std::optional<wire::DrainCounts> counts;
    if (params.hasTally()) counts = wire::read(params.getTally());
    return service_->left(id_, counts);
  }

  kj::Promise<void> usage(UsageContext context) override {
    const auto params = context.getParams();
    service_->usage(id_, LeaseId{params.getLeaseId()}, params.getPart(),
                    wire::read(params.getUsage()));
    return kj::READY_NOW;
  }

 private:
  kj::Own<ResourceManagerService> service_;
  RegistrationId id_;
  std::shared_ptr<void> place_;
};

}  // namespace

wire::NodeRegistration::Client make_node_registration(kj::Own<ResourceManagerService> service,
                                                      const RegistrationId& id,
                                                      const std::shared_ptr<Peer>& peer) {
  return kj::heap<NodeRegistrationServer>(kj::mv(service), id, peer);
}

}  // namespace sublet::manager
