#include "network.hpp"

#include "process.hpp"
#include "world.hpp"
#include <common/async.hpp>

#include <kj/debug.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sublet::sim {
namespace {

using namespace std::chrono_literals;

/// Real code asks a connection's descriptor who is at the other end, and whether that has closed:
/// this process, and it has not.
int stand_in() {
  static const int fd = [] {
    std::array<int, 2> pair{};
    KJ_SYSCALL(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()));
    return pair[0];
  }();
  return fd;
}

kj::Exception broken(const char* why) {
  return {kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__, kj::str(why)};
}

/// One end of a wire.
class Stream final : public kj::AsyncIoStream {
 public:
  Stream(std::shared_ptr<Wire> wire, std::size_t end) : wire_(std::move(wire)), end_(end) {}
  ~Stream() noexcept(false) { wire_->close(end_); }

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    return wire_->read(end_, static_cast<kj::byte*>(buffer), least, most);
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    const auto* const bytes = static_cast<const kj::byte*>(buffer);
    return wire_->write(end_, {bytes, bytes + size});
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    std::vector<kj::byte> all;
    for (const auto piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
    return wire_->write(end_, std::move(all));
  }
  kj::Promise<void> whenWriteDisconnected() override { return kj::NEVER_DONE; }
  void shutdownWrite() override { wire_->close(end_); }
  kj::Maybe<int> getFd() const override { return stand_in(); }

 private:
  std::shared_ptr<Wire> wire_;
  std::size_t end_;
};

}  // namespace

// ---- a connection ----

Wire::Wire(World& world, Process& client, Process& server)
    : world_(world), ends_{&client, &server} {}

kj::Promise<std::size_t> Wire::read(std::size_t end, kj::byte* to, std::size_t least,
                                    std::size_t most, std::size_t had) {
  Process& process = *ends_[end];
  if (!process.alive()) return kj::NEVER_DONE;
  if (process.frozen()) {
    return process.when_running().then(
        [this, end, to, least, most, had] { return read(end, to, least, most, had); });
  }
  Lane& lane = lanes_[end];
  const std::size_t some = std::min(most - had, lane.bytes.size() - lane.read);
  std::memcpy(to + had, lane.bytes.data() + lane.read, some);
  lane.read += some;
  had += some;
  if (lane.read == lane.bytes.size()) {
    lane.bytes.clear();
    lane.read = 0;
  }
  if (had >= least) return had;
  if (lane.broken) return broken("the connection was reset");
  if (lane.ended) return had;
  auto paf = kj::newPromiseAndFulfiller<void>();
  lane.reader = kj::mv(paf.fulfiller);
  return paf.promise.then(
      [this, end, to, least, most, had] { return read(end, to, least, most, had); });
}

kj::Promise<void> Wire::write(std::size_t end, std::vector<kj::byte> bytes) {
  if (!ends_[end]->alive()) return kj::NEVER_DONE;
  if (lanes_[end].broken || lanes_[end].ended) return broken("the other end has closed");
  if (!closed_[end]) send(1 - end, std::move(bytes), false);
  return kj::READY_NOW;
}

void Wire::close(std::size_t end) {
  if (std::exchange(closed_[end], true)) return;
  send(1 - end, {}, true);
}

void Wire::close(const Process& process) {
  for (std::size_t end = 0; end < ends_.size(); ++end) {
    if (ends_[end] == &process) close(end);
  }
}

void Wire::reset() {
  cut_ = true;
  for (Lane& lane : lanes_) {
    lane.broken = true;
    lane.bytes.clear();
    lane.read = 0;
    wake(lane);
  }
}

void Wire::vanish() {
  if (std::exchange(cut_, true)) return;
  world_.spawn(world_.time.timer()
                   .afterDelay(manager::to_kj(world_.dice.between(5s, 10s)))
                   .then([self = shared_from_this()] { self->reset(); }));
}

void Wire::send(std::size_t to, std::vector<kj::byte> bytes, bool end) {
  if (cut_) return;
  Lane& lane = lanes_[to];
  lane.last = std::max(lane.last, world_.network.arrival(*ends_[1 - to], *ends_[to]));
  auto under_way = world_.time.timer().atTime(lane.last);
  world_.spawn(under_way.then([self = shared_from_this(), to, bytes = std::move(bytes), end] {
    if (self->cut_) return;
    Lane& here = self->lanes_[to];
    self->world_.note(self->ends_[to]->name() + (end ? " reads the end" : " reads ") +
                      std::to_string(bytes.size()));
    here.bytes.insert(here.bytes.end(), bytes.begin(), bytes.end());
    here.ended |= end;
    self->wake(here);
  }));
}

void Wire::wake(Lane& lane) {
  if (lane.reader.get() != nullptr) lane.reader->fulfill();
  lane.reader = nullptr;
}

// ---- all of them ----

void Network::listen(const std::string& address, Process& process, Accept accept) {
  listeners_[address] = {&process, std::move(accept)};
}

void Network::ignore(const std::string& address, bool silently) {
  listeners_.erase(address);
  if (silently) listeners_[address] = {};
}

kj::Promise<kj::Own<kj::AsyncIoStream>> Network::connect(Process& from,
                                                         const std::string& address) {
  const auto found = listeners_.find(address);
  const Process& to =
      found == listeners_.end() || found->second.process == nullptr ? from : *found->second.process;
  return world_.time.timer()
      .atTime(arrival(from, to))
      .then([this, &from, address]() -> kj::Promise<kj::Own<kj::AsyncIoStream>> {
        const auto listener = listeners_.find(address);
        world_.note(from.name() + " connects to " + address +
                    (listener == listeners_.end() ? ", where nobody is" : ""));
        if (listener == listeners_.end()) return broken("connection refused");
        if (listener->second.process == nullptr) return kj::NEVER_DONE;
        Process& server = *listener->second.process;
        const auto wire = std::make_shared<Wire>(world_, from, server);
        from.add(wire);
        server.add(wire);
        // The kernel has taken the connection; the process does when it runs.
        kj::Own<kj::AsyncIoStream> end = kj::heap<Stream>(wire, 1);
        world_.spawn(server.when_running().then(
            [this, &server, &from, address, end = kj::mv(end)]() mutable {
              const auto still = listeners_.find(address);
              if (still == listeners_.end() || still->second.process != &server) return;
              still->second.accept(kj::mv(end), from);
            }));
        return kj::Own<kj::AsyncIoStream>(kj::heap<Stream>(wire, 0));
      });
}

void Network::stall(const std::string& machine, std::chrono::nanoseconds time) {
  stalled_until_.insert_or_assign(machine, world_.time.timer().now() + manager::to_kj(time));
}

kj::TimePoint Network::arrival(const Process& from, const Process& to) {
  kj::TimePoint at = world_.time.timer().now();
  for (const Process* const process : {&from, &to}) {
    const auto stalled = stalled_until_.find(process->machine());
    if (stalled != stalled_until_.end()) at = std::max(at, stalled->second);
  }
  const auto delay =
      world_.dice.one_in(200) ? world_.dice.between(5ms, 500ms) : world_.dice.between(20us, 3ms);
  return at + manager::to_kj(delay);
}

}  // namespace sublet::sim
