#include <base/log.hpp>
#include <executor_manager/memory_limiter.hpp>

#include <fcntl.h>
#include <poll.h>

#include <utility>

namespace sublet::manager {
namespace {

/// A pidfd is readable once its process has ended.
bool has_ended(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0;
}

}  // namespace

MemoryLimiter::Limit::Limit(MemoryLimiter& limiter, pid_t pid, int pidfd, std::uint64_t bytes)
    : limiter_(limiter), slot_(std::make_shared<Slot>()) {
  auto alive = std::make_shared<base::Fd>(::fcntl(pidfd, F_DUPFD_CLOEXEC, 0));
  limiter_.thread_.post([slot = slot_, parent = limiter_.parent_.get(), alive, pid, bytes] {
    // A number of a process that has ended may be somebody else's by now.
    if (has_ended(alive->get())) return;
    auto cgroup = MemoryCgroup::create(*parent, bytes);
    auto added = cgroup ? cgroup->add(pid) : tl::unexpected<Error>(cgroup.error());
    if (!added) {
      if (!has_ended(alive->get())) base::log().warn("executor {}: {}", pid, added.error().what());
      return;
    }
    const std::lock_guard lock(slot->mutex);
    slot->cgroup.emplace(std::move(*cgroup));
  });
}

MemoryLimiter::Limit::~Limit() {
  // The slot goes with the last job that knows it, on the thread that may wait.
  limiter_.thread_.post([slot = std::exchange(slot_, nullptr)] {
    const std::lock_guard lock(slot->mutex);
    slot->cgroup.reset();
  });
}

bool MemoryLimiter::Limit::was_exceeded() const {
  const std::lock_guard lock(slot_->mutex);
  return slot_->cgroup && slot_->cgroup->oom_kills() > 0;
}

}  // namespace sublet::manager
