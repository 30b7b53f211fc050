#include <transport/common/await_fds.hpp>
#include <transport/shm/shm_sleep.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sublet::transport::shm {

namespace {

void futex_wake(SleepWord& word) noexcept {
  ::syscall(SYS_futex, &word.sleeping, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

}  // namespace

void wake_slow(SleepWord& word) noexcept {
  // Whoever turns the 1 into 0 makes the call, so that a burst of requests costs one.
  if (std::atomic_ref<std::uint32_t>(word.sleeping).exchange(0, std::memory_order_relaxed) != 0) {
    futex_wake(word);
  }
}

void wake_always(SleepWord& word) noexcept {
  std::atomic_ref<std::uint32_t>(word.sleeping).store(0, std::memory_order_relaxed);
  futex_wake(word);
}

void futex_wait(SleepWord& word, std::chrono::nanoseconds limit) noexcept {
  if (limit.count() <= 0) return;
  const timespec timeout = to_timespec(limit);
  // Not FUTEX_PRIVATE: the waker is another process. EAGAIN (already woken), EINTR and ETIMEDOUT
  // all mean the same to the caller: look again.
  ::syscall(SYS_futex, &word.sleeping, FUTEX_WAIT, 1, &timeout, nullptr, 0);
}

}  // namespace sublet::transport::shm
