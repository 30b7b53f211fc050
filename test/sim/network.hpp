#pragma once

// clang-format off
// A network of streams, as TCP and Unix sockets are: in order, whole or broken. What is left to chance:
//   delays       of each piece; a piece of another connection overtakes it
//   stalls       nothing passes to or from a machine for a time, then all of it in a burst
//   breaks       a connection ends at both sides, with what was under way lost
//   half-open    one side has lost power: the other finds out after a while, by keep-alive
// Drops, duplicates and reordering of messages follow from these, as they do in reality: an answer
// that was lost with its connection makes the asker ask again.
// clang-format on

#include "virtual_time.hpp"

#include <kj/async-io.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sublet::sim {

class World;
class Process;

/// One connection between two processes. Its streams, and what is under way, keep it alive.
class Wire final : public std::enable_shared_from_this<Wire> {
 public:
  Wire(World& world, Process& client, Process& server);

  kj::Promise<std::size_t> read(std::size_t end, kj::byte* to, std::size_t least, std::size_t most,
                                std::size_t had = 0);
  kj::Promise<void> write(std::size_t end, std::vector<kj::byte> bytes);
  /// That end is closed, or its process was killed: the other reads what is there, then the end.
  void close(std::size_t end);
  void close(const Process& process);
  /// Breaks at both sides.
  void reset();
  /// Nothing passes any more; whoever is left notices after a while.
  void vanish();

 private:
  struct Lane {  ///< To one end.
    std::vector<kj::byte> bytes;
    std::size_t read = 0;
    bool ended = false;
    bool broken = false;
    kj::TimePoint last = kj::origin<kj::TimePoint>();  ///< Of what is under way.
    kj::Own<kj::PromiseFulfiller<void>> reader;        ///< Null: nobody waits.
  };
  void send(std::size_t to, std::vector<kj::byte> bytes, bool end);
  void wake(Lane& lane);

  World& world_;
  std::array<Process*, 2> ends_;
  std::array<Lane, 2> lanes_;
  std::array<bool, 2> closed_{};
  bool cut_ = false;
};

/// Who listens where, and what lies in between. Owner: the world. On the loop.
class Network {
 public:
  /// Called with the server's end of a connection.
  using Accept = std::function<void(kj::Own<kj::AsyncIoStream>, Process& from)>;

  explicit Network(World& world) : world_(world) {}

  /// `address` as wire::Address::to_kj() says it.
  void listen(const std::string& address, Process& process, Accept accept);
  /// Connecting is refused from here on; with `silently` there is no answer at all.
  void ignore(const std::string& address, bool silently);
  kj::Promise<kj::Own<kj::AsyncIoStream>> connect(Process& from, const std::string& address);

  /// Nothing passes to or from the machine for so long.
  void stall(const std::string& machine, std::chrono::nanoseconds time);
  /// From one process to another, from now on.
  [[nodiscard]] kj::TimePoint arrival(const Process& from, const Process& to);

 private:
  struct Listener {
    Process* process = nullptr;  ///< Null: there is no answer.
    Accept accept;
  };
  World& world_;
  std::map<std::string, Listener> listeners_;
  std::map<std::string, kj::TimePoint> stalled_until_;
};

}  // namespace sublet::sim
