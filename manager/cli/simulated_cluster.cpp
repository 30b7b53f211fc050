#include <cli/simulated_cluster.hpp>
#include <common/messages.hpp>
#include <resource_manager/resource_manager_server.hpp>
#include <wire/convert.hpp>

#include <kj/debug.h>

namespace sublet::cli {
namespace {

/// An executor manager that does what it is told at once.
class SimulatedNode final : public wire::NodeControl::Server {
 protected:
  kj::Promise<void> grant(GrantContext context) override {
    context.releaseParams();
    return kj::READY_NOW;
  }
};

}  // namespace

SimulatedCluster::SimulatedCluster(kj::AsyncIoContext& io, const manager::Operators& operators,
                                   std::uint32_t nodes, std::size_t leases)
    : scope_(io.waitScope),
      most_leases_(leases),
      service_(kj::refcounted<manager::ResourceManagerService>(io.provider->getTimer(), operators)),
      manager_(manager::make_resource_manager(kj::addRef(*service_), nullptr)) {
  for (std::uint32_t i = 0; i < nodes; ++i) join(i);
}

void SimulatedCluster::pair() {
  beat();
  lease();
  if (leases_.size() > most_leases_) end_oldest();
}

void SimulatedCluster::join(std::uint32_t number) {
  const std::string name = "node" + std::to_string(number);
  auto request = manager_.registerRequest();
  manager::write(request.initNode(), manager::NodeOffer{name,
                                                        "boot/" + name,
                                                        kCoresOfNode,
                                                        std::uint64_t{256} << 30,
                                                        "0-63",
                                                        {"tcp:10.0.0.1:7700"},
                                                        kCoresOfNode,
                                                        {},
                                                        key_.public_key()});
  request.setControl(kj::heap<SimulatedNode>());
  auto response = request.send().wait(scope_);
  if (auto failure = wire::failure_of(response)) {
    kj::throwFatalException(KJ_EXCEPTION(FAILED, "registering", failure->what()));
  }
  nodes_.emplace(name, response.getRegistration());
}

void SimulatedCluster::beat() {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  const auto due = static_cast<std::uint64_t>(seconds * static_cast<double>(nodes_.size()));
  for (; beats_ < due; ++beats_) {
    if (next_beat_ == nodes_.end()) next_beat_ = nodes_.begin();
    (next_beat_++)->second.heartbeatRequest().send().wait(scope_);
  }
}

void SimulatedCluster::lease() {
  sublet::LeaseRequest wanted;
  wanted.cores = std::uniform_int_distribution<std::uint32_t>(1, 16)(random_);
  wanted.memory_bytes = std::uint64_t{wanted.cores} << 30;
  wanted.holders = {holder_.public_key()};
  auto request = manager_.leaseRequest();
  wire::write(request.initRequest(), wanted, "boot/client", "bench@client");
  auto response = request.send().wait(scope_);
  if (auto failure = wire::failure_of(response)) {
    kj::throwFatalException(KJ_EXCEPTION(FAILED, "leasing", failure->what()));
  }
  Held held{0, response.getHandle(), {}};
  for (const auto grant : response.getGrants()) {
    held.lease = grant.getLeaseId();
    held.shares.emplace_back(wire::to_string(grant.getNodeName()), grant.getPart());
    auto claimed = nodes_.at(held.shares.back().first).claimedRequest();
    claimed.setLeaseId(held.lease);
    claimed.setPart(grant.getPart());
    claimed.send().wait(scope_);
  }
  leases_.push_back(kj::mv(held));
}

void SimulatedCluster::end_oldest() {
  Held& held = leases_.front();
  for (const auto& [node, part] : held.shares) {
    auto ended = nodes_.at(node).endedRequest();
    ended.setLeaseId(held.lease);
    ended.setPart(part);
    ended.setReason("its client released it or ended");
    ended.send().wait(scope_);
  }
  leases_.pop_front();
}

}  // namespace sublet::cli
