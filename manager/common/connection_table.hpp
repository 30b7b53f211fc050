#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

namespace sublet::manager {

/// The places for connections that a process serves, of all its listeners. When all are taken, a
/// newcomer gets the place of a connection of whoever has most of them: first one that has never
/// said anything, though it had time to, then the one that has been silent for longest. One that
/// holds something (a lease, a registration) keeps its place.
///
/// Owner: main, or the executor manager; outlives its places. One thread. No I/O.
class ConnectionTable {
 public:
  class Place;
  struct State {
    std::size_t connections = 0;
    std::size_t limit = 0;
    std::uint64_t closed = 0;   ///< For newcomers, since the start.
    std::uint64_t refused = 0;  ///< Newcomers that found no place, since the start.
  };

  /// `first_word`: the time to say something in.
  explicit ConnectionTable(std::size_t limit,
                           std::chrono::milliseconds first_word = std::chrono::seconds(1))
      : first_word_(first_word) {
    state_.limit = limit;
  }
  ConnectionTable(const ConnectionTable&) = delete;
  ConnectionTable& operator=(const ConnectionTable&) = delete;

  /// Null when every place is held. `owner` is who connects: a user or a host. `close` is called
  /// once when the place goes to another; the table has forgotten it by then.
  std::unique_ptr<Place> take(const std::string& owner, std::function<void()> close);
  /// Closes one as for a newcomer: descriptors have run out. False when all are held.
  bool make_room();

  [[nodiscard]] const State& state() const noexcept { return state_; }
  /// Who lost a place last.
  [[nodiscard]] const std::string& closed_last() const noexcept { return closed_last_; }

 private:
  struct Owner {
    std::size_t connections = 0;
    std::list<Place*> silent;  ///< Has said nothing yet; oldest first.
    std::list<Place*> heard;   ///< Longest silent first.
  };
  using Owners = std::map<std::string, Owner>;
  void leave(Owners::iterator owner);

  const std::chrono::milliseconds first_word_;
  State state_;
  Owners owners_;
  std::string closed_last_;
};

/// One connection's place; given back with this object.
class ConnectionTable::Place {
 public:
  Place(ConnectionTable& table, Owners::iterator owner, std::function<void()> close);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  /// A message has come.
  void heard();
  /// It holds one thing more, or one less. With one at least it is not closed for others.
  void hold();
  void let_go();

  /// Its owner has more connections than a user's programs on a node need.
  [[nodiscard]] bool is_of_a_crowd() const noexcept {
    return in_table_ && owner_->second.connections > kCrowd;
  }
  [[nodiscard]] bool was_heard() const noexcept { return was_heard_; }
  [[nodiscard]] bool holds() const noexcept { return held_ > 0; }
  [[nodiscard]] const std::string& owner() const noexcept { return name_; }
  [[nodiscard]] const ConnectionTable& table() const noexcept { return table_; }

 private:
  friend class ConnectionTable;
  static constexpr std::size_t kCrowd = 128;
  void enlist();
  void unlist();

  ConnectionTable& table_;
  std::string name_;
  Owners::iterator owner_;
  std::function<void()> close_;
  const std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
  bool in_table_ = true;
  bool was_heard_ = false;
  std::size_t held_ = 0;
  std::list<Place*>* list_ = nullptr;  ///< Where it stands; null while it is held.
  std::list<Place*>::iterator at_;
};

}  // namespace sublet::manager
