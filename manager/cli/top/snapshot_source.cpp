#include <base/system_text.hpp>
#include <cli/top/snapshot_source.hpp>
#include <common/manager_query.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

namespace sublet::cli {

struct SnapshotSource::State {
  ManagerTarget target;
  std::chrono::milliseconds interval{0};
  base::Fd event;
  std::mutex mutex;
  TopSnapshot newest;
};

Result<TopSnapshot> take_snapshot(const ManagerTarget& target) {
  TopSnapshot snapshot;
  snapshot.address = target.location.to_string();
  auto nodes = manager::query_nodes(target.location, target.timeout);
  if (!nodes) return tl::unexpected<Error>(std::move(nodes.error()));
  auto leases = manager::query_leases(target.location, false, target.timeout);
  if (!leases) return tl::unexpected<Error>(std::move(leases.error()));
  snapshot.nodes = std::move(*nodes);
  snapshot.leases = std::move(*leases);
  snapshot.now_unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                             std::chrono::system_clock::now().time_since_epoch())
                             .count();
  return snapshot;
}

Result<SnapshotSource> SnapshotSource::start(const ManagerTarget& target,
                                             std::chrono::milliseconds interval) {
  auto state = std::make_shared<State>();
  state->target = target;
  state->interval = interval;
  state->newest.address = target.location.to_string();
  state->newest.problem = "waiting for " + state->newest.address;
  state->event.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->event.valid()) {
    return fail(ErrorKind::kInternal, "making an eventfd: " + base::system_text(errno), errno);
  }
  try {
    std::thread([state] { run(state); }).detach();
  } catch (const std::system_error& error) {
    return fail(ErrorKind::kInternal,
                "starting a thread: " + base::start_text(error.code().value()));
  }
  return SnapshotSource(std::move(state));
}

void SnapshotSource::run(const std::shared_ptr<State>& state) {
  for (;;) {
    auto snapshot = take_snapshot(state->target);
    {
      const std::lock_guard lock(state->mutex);
      if (snapshot) {
        state->newest = std::move(*snapshot);
      } else {
        state->newest.problem = snapshot.error().what();
      }
    }
    const std::uint64_t one = 1;
    (void)!::write(state->event.get(), &one, sizeof one);
    std::this_thread::sleep_for(state->interval);
  }
}

int SnapshotSource::news() const {
  return state_->event.get();
}

TopSnapshot SnapshotSource::newest() {
  std::uint64_t count = 0;
  (void)!::read(state_->event.get(), &count, sizeof count);
  const std::lock_guard lock(state_->mutex);
  return state_->newest;
}

}  // namespace sublet::cli
