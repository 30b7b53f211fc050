#include "operator.hpp"

#include <wire/limits.hpp>
#include <wire/manager_calls.hpp>

#include <utility>

namespace sublet::sim {
namespace {

using namespace std::chrono_literals;

/// Beside what an order may take by itself: machines that are stopped or cut off.
constexpr auto kTrouble = 12s;

}  // namespace

Operator::Operator(World& world, std::uint32_t nodes)
    : world_(world),
      nodes_(nodes),
      process_(world.new_process("operator", "operator", 0)),
      loop_(world, process_) {}

Operator::~Operator() noexcept(false) {
  process_.kill();
  under_way_.clear();
}

void Operator::order(const std::string& what, std::chrono::nanoseconds limit,
                     kj::Function<kj::Promise<void>(wire::ResourceManager::Client)> ask) {
  constexpr std::size_t kMost = 64;
  if (under_way_.size() > kMost) under_way_.erase(under_way_.begin());
  world_.note("operator: " + what);
  auto waiting = world_.wait_for("operator: " + what, limit + kTrouble);
  auto done = loop_.manager()
                  .then([ask = kj::mv(ask)](wire::ResourceManager::Client manager) mutable {
                    return ask(kj::mv(manager));
                  })
                  .catch_([](kj::Exception&&) {})
                  .attach(kj::mv(waiting));
  under_way_.push_back(done.eagerlyEvaluate(nullptr));
}

void Operator::act() {
  const std::string node = "n" + std::to_string(world_.dice.pick(nodes_));
  switch (world_.dice.pick(5)) {
    case 0:
      return drain(node);
    case 1:
      return order(
          "takes the drain of " + node + " back", wire::kManagerCall,
          [node](auto manager) { return wire::ask_cancel_drain(manager, node).ignoreResult(); });
    case 2:
      return order("forgets " + node, 0s,
                   [node](auto manager) { return wire::ask_forget(manager, node).ignoreResult(); });
    default:
      return release();
  }
}

void Operator::drain(const std::string& node) {
  const auto limit =
      std::chrono::duration_cast<std::chrono::milliseconds>(world_.dice.between(0ms, 6000ms));
  const bool wait = !world_.dice.one_in(3);
  order("drains " + node, limit + wire::kDrainMargin + wire::kNodeLostAfter,
        [node, limit, wait](auto manager) {
          return wire::ask_drain(manager, node, limit, "it is needed", wait).ignoreResult();
        });
}

/// One of the leases that there are.
void Operator::release() {
  const std::uint64_t die = world_.dice.raw();
  order("ends a lease", wire::kRevokeCall, [die](wire::ResourceManager::Client manager) {
    return wire::ask_leases(manager, false)
        .then([manager, die](Result<std::vector<LeaseInfo>> leases) mutable -> kj::Promise<void> {
          if (!leases || leases->empty()) return kj::READY_NOW;
          const std::uint64_t id = (*leases)[die % leases->size()].id;
          return wire::ask_release(manager, id, "an operator wants it").ignoreResult();
        });
  });
}

}  // namespace sublet::sim
