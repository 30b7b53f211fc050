#include "process.hpp"

#include "network.hpp"
#include "world.hpp"

#include <kj/debug.h>

#include <utility>

namespace sublet::sim {
namespace {

/// Where a process may connect to.
class Target final : public kj::NetworkAddress {
 public:
  Target(World& world, Process& from, std::string address)
      : world_(world), from_(from), address_(std::move(address)) {}

  kj::Promise<kj::Own<kj::AsyncIoStream>> connect() override {
    return world_.network.connect(from_, address_);
  }
  kj::Own<kj::ConnectionReceiver> listen() override { KJ_UNIMPLEMENTED("see Network::listen"); }
  kj::Own<kj::NetworkAddress> clone() override { return kj::heap<Target>(world_, from_, address_); }
  kj::String toString() override { return kj::str(address_.c_str()); }

 private:
  World& world_;
  Process& from_;
  std::string address_;
};

}  // namespace

Process::Process(World& world, std::string name, std::string machine, std::uint32_t uid,
                 milliseconds clock_error)
    : world_(world),
      name_(std::move(name)),
      machine_(std::move(machine)),
      uid_(uid),
      clock_error_(clock_error) {}

Time Process::clock() const {
  return world_.time.now() + clock_error_;
}

void Process::kill(bool silently) {
  if (!std::exchange(alive_, false)) return;
  frozen_ = false;
  for (const auto& wire : wires()) {
    if (silently) {
      wire->vanish();
    } else {
      wire->close(*this);
    }
  }
}

void Process::thaw() {
  frozen_ = false;
  for (auto& fulfiller : std::exchange(waiting_, {})) fulfiller->fulfill();
}

kj::Promise<void> Process::when_running() {
  if (!alive_) return kj::NEVER_DONE;
  if (!frozen_) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

std::vector<std::shared_ptr<Wire>> Process::wires() {
  std::vector<std::shared_ptr<Wire>> wires;
  for (const auto& weak : std::exchange(wires_, {})) {
    if (auto wire = weak.lock()) wires.push_back(std::move(wire));
  }
  wires_.assign(wires.begin(), wires.end());
  return wires;
}

kj::TimePoint Process::now() const {
  return world_.time.timer().now();
}

kj::Promise<void> Process::atTime(kj::TimePoint time) {
  return world_.time.timer().atTime(time).then([this] { return when_running(); });
}

kj::Promise<void> Process::afterDelay(kj::Duration delay) {
  return world_.time.timer().afterDelay(delay).then([this] { return when_running(); });
}

kj::Promise<kj::Own<kj::NetworkAddress>> Process::parseAddress(kj::StringPtr address, kj::uint) {
  return kj::Own<kj::NetworkAddress>(kj::heap<Target>(world_, *this, address.cStr()));
}

kj::Own<kj::NetworkAddress> Process::getSockaddr(const void*, kj::uint) {
  KJ_UNIMPLEMENTED("a simulated network has names alone");
}

kj::Own<kj::Network> Process::restrictPeers(kj::ArrayPtr<const kj::StringPtr>,
                                            kj::ArrayPtr<const kj::StringPtr>) {
  KJ_UNIMPLEMENTED("a simulated network is open to all");
}

}  // namespace sublet::sim
