#include <resource_manager/drain_waits.hpp>

#include <numeric>
#include <utility>

namespace sublet::manager {
namespace {

std::string name_of(const Caller& caller) {
  if (caller.proved()) return "uid " + std::to_string(caller.uid);
  return "host " + caller.host;
}

}  // namespace

Result<DrainWaits::Place> DrainWaits::take_place(const Caller& caller) {
  const std::string name = name_of(caller);
  const auto known = callers_->find(name);
  const std::size_t own = known == callers_->end() ? 0 : known->second;
  const std::size_t all =
      std::accumulate(callers_->begin(), callers_->end(), std::size_t{0},
                      [](std::size_t sum, const auto& entry) { return sum + entry.second; });
  if (own >= wire::kMaxDrainWaits || all >= wire::kMaxAllDrainWaits) {
    return fail(ErrorKind::kOverloaded,
                "the ends of " + std::to_string(own) + " drains are waited for by " + name +
                    " already, and of " + std::to_string(all) +
                    " by all; nothing was done. Wait for some of them, or use --no-wait");
  }
  ++(*callers_)[name];
  return Place(nullptr, [callers = callers_, name](void*) {
    const auto entry = callers->find(name);
    if (--entry->second == 0) callers->erase(entry);
  });
}

kj::Promise<wire::DrainReport> DrainWaits::wait(NodeNumber node) {
  auto paf = kj::newPromiseAndFulfiller<wire::DrainReport>();
  auto& waiting = waiting_[node];
  std::erase_if(waiting, [](Fulfiller& one) { return !one->isWaiting(); });
  waiting.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

void DrainWaits::settle(NodeNumber node, const wire::DrainReport& report) {
  auto waiting = waiting_.extract(node);
  if (waiting.empty()) return;
  for (Fulfiller& one : waiting.mapped()) one->fulfill(wire::DrainReport(report));
}

}  // namespace sublet::manager
