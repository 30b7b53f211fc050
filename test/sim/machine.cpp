#include "machine.hpp"

#include <executor_manager/claim_server.hpp>

#include <utility>

namespace sublet::sim {
namespace {

manager::CoreInventory::Offer offer_of(const std::string& name, std::uint32_t cores) {
  manager::CoreInventory::Offer offer;
  for (std::uint32_t core = 0; core < cores; ++core) {
    offer.cpusets.push_back(std::to_string(core));
  }
  offer.all = "0-" + std::to_string(cores - 1);
  for (std::uint32_t gpu = 0; gpu < cores / 2; ++gpu) {
    offer.gpus.push_back({{"GPU-" + name + "-" + std::to_string(gpu)}});
  }
  offer.memory_bytes = std::uint64_t{16} << 30;
  return offer;
}

}  // namespace

Machine::Machine(World& world, Account& account, std::string name, std::uint32_t cores,
                 milliseconds clock_error)
    : world_(world),
      account_(account),
      name_(std::move(name)),
      cores_(cores),
      clock_error_(clock_error) {}

Machine::~Machine() noexcept(false) {
  end(false);
}

std::string Machine::node_id() const {
  return kMachines + name_ + "." + std::to_string(boots_);
}

void Machine::start() {
  if (manager_.get() != nullptr) return;
  world_.note(name_ + ": an executor manager starts");
  process_ = &world_.new_process(name_, name_, 0, clock_error_);
  Process& process = *process_;
  auto executors =
      std::make_unique<SimulatedExecutors>(world_, process, cores_, account_, name_, ++runs_);
  executors_ = executors.get();
  manager::ExecutorManagerOptions options;
  options.trust = world_.trust;
  options.advertise = {"node"};
  options.cgroup = false;
  manager::NodeOffer node;
  node.name = name_;
  node.node_id = node_id();
  node.cpuset = "0";
  node.addresses = {"unix:@" + name_};
  manager_ = kj::heap<manager::ExecutorManager>(
      manager::NodeWorld{process.network(), process.timer(), std::move(executors),
                         manager::ManagerClock([&process] { return process.clock(); }), nullptr},
      std::move(node), offer_of(name_, cores()), options);
  server_ = std::make_unique<Server>(
      world_, process, "unix:@" + name_,
      [this](std::shared_ptr<manager::Peer> peer) -> capnp::Capability::Client {
        return manager::make_claim_server(*manager_, std::move(peer));
      });
  manager_->join([]() -> kj::Promise<Result<wire::ManagerLocation>> {
    return Result<wire::ManagerLocation>(wire::ManagerLocation(kManagerAddress));
  });
  life_ = manager_->drained()
              .exclusiveJoin(manager_->refused().ignoreResult())
              .then([this] { return manager_->stop("its manager ends"); })
              .then([this] { ended_ = true; })
              .eagerlyEvaluate([this](kj::Exception&& exception) {
                world_.broken(name_ + " ended: " + exception.getDescription().cStr());
              });
}

void Machine::stop(milliseconds drain_time) {
  if (manager_.get() == nullptr) return;
  world_.note(name_ + ": the executor manager is told to stop");
  manager_->drain("the node is being given back", drain_time, manager::NodeDrain::Origin::kHere);
}

void Machine::kill() {
  if (manager_.get() == nullptr) return;
  world_.note(name_ + ": the executor manager is killed");
  end(false);
}

void Machine::vanish() {
  world_.note(name_ + ": loses power");
  end(true);
  ++boots_;
}

void Machine::remove_ended(bool heard) {
  if (!ended_) return;
  world_.note(name_ + ": the executor manager has ended");
  for (const SimulatedExecutor* const user : cores_.users) {
    if (user != nullptr) world_.broken(name_ + " has ended, and an executor of it runs");
  }
  if (!heard) account_.cut_off(name_, runs_);
  end(false);
}

void Machine::end(bool silently) {
  if (manager_.get() == nullptr) return;
  const bool killed = !ended_;
  server_->shut(silently);
  process_->kill(silently);
  life_ = nullptr;
  if (killed) executors_->kill_all();
  ended_ = false;
  server_ = nullptr;
  executors_ = nullptr;
  manager_ = nullptr;
}

}  // namespace sublet::sim
