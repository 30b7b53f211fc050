#pragma once

#include <base/fd.hpp>
#include <wire/executor_packets.hpp>

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

namespace sublet::executor {

/// How many processes to keep ready: as many as orders came within the last `kWindow`, at least
/// one, at most what is allowed. Holds no process; time comes from outside.
class SpareDemand {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kWindow{10};

  explicit SpareDemand(std::size_t most = 0) noexcept : most_(most) {}
  void ordered(Time now);
  [[nodiscard]] std::size_t wanted(Time now);

 private:
  std::size_t most_;
  std::deque<Time> orders_;  ///< The last ones, at most `most_`.
};

/// Processes that have been forked before an executor is asked for, with all done that does not
/// depend on whose it will be. Each waits for its order, which comes by a socket of its own.
///
/// They are made while nobody waits: 20 ms after the last order or end of an executor, or 100 ms
/// after the first of many. None is kept while the node is short of memory (PSI, or MemAvailable),
/// and none any more when they keep dying.
///
/// Owner: the zygote; its one thread.
class SpareExecutors {
 public:
  /// What a spare process does once it is there; it never returns. `order`: its end of the socket.
  using Body = std::function<void(base::Fd order)>;

  explicit SpareExecutors(Body body) : body_(std::move(body)) {}

  /// 0: keeps none.
  void allow(std::size_t most);

  struct Taken {
    pid_t pid;
    base::Fd pidfd;  ///< None where the system refuses pidfd_open.
  };
  /// Gives the order, with its descriptors, to one of them, which is the caller's from then on.
  /// Nothing when there is none.
  std::optional<Taken> take(const wire::ReceivedMessage& order);

  /// One of the zygote's processes has ended; true when it was a spare.
  bool ended(pid_t pid);

  /// Makes one, or ends one, when that is due.
  void look();
  /// Until look() is due; -1: not before something else happens.
  [[nodiscard]] int timeout_ms() const;
  /// Nothing is made before a pause from now on.
  void postpone();

  [[nodiscard]] bool has(pid_t pid) const noexcept;
  [[nodiscard]] std::size_t count() const noexcept { return spares_.size(); }
  void end_all() noexcept;

 private:
  struct Spare {
    pid_t pid;
    base::Fd pidfd;
    base::Fd order;
  };

  bool make_one();
  void end_one() noexcept;

  Body body_;
  SpareDemand demand_;
  std::vector<Spare> spares_;
  std::size_t most_ = 0;
  unsigned deaths_ = 0;  ///< Of spares that nobody had taken, one after the other.
  SpareDemand::Time due_{};
  SpareDemand::Time missing_since_{};
};

/// Brings the pages of this process's program, libraries and data into memory, which a forked
/// process has to fetch one by one. Does nothing on kernels before 5.14.
void touch_own_pages() noexcept;

}  // namespace sublet::executor
