#pragma once

#include <base/fd.hpp>
#include <cli/manager_options.hpp>
#include <cli/top/top_view.hpp>

#include <chrono>
#include <memory>
#include <mutex>

namespace sublet::cli {

/// One snapshot, now. Blocks as long as `target` says.
Result<TopSnapshot> take_snapshot(const ManagerTarget& target);

/// Asks a resource manager again and again on a thread of its own, which may have to wait for it.
///
/// Owner: the command. The thread is not waited for: it may be within a call of some seconds. It
/// keeps what it uses alive, and the process ends with it.
class SnapshotSource {
 public:
  /// Signals that are blocked now are blocked in the thread.
  static Result<SnapshotSource> start(const ManagerTarget& target,
                                      std::chrono::milliseconds interval);

  /// Readable when there is a new one.
  [[nodiscard]] int news() const;
  /// The newest; the same again with `problem` set when the manager has not answered since.
  TopSnapshot newest();

 private:
  struct State;
  explicit SnapshotSource(std::shared_ptr<State> state) : state_(std::move(state)) {}
  static void run(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace sublet::cli
