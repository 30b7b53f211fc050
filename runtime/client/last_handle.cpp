#include <base/fork_guard.hpp>
#include <client/last_handle.hpp>

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace sublet::client {

constinit std::atomic<bool> g_exiting{false};

namespace {

thread_local constinit bool t_own = false;

/// Objects being destroyed on threads of their own.
constinit std::atomic<int> g_elsewhere{0};

/// For these: a process that exits meanwhile would take away what they use.
constexpr auto kElsewhereMost = std::chrono::seconds(3);

void begin_exit() noexcept {
  g_exiting.store(true, std::memory_order_relaxed);
  if (t_own) return;  // it is this thread that they wait for
  const auto deadline = std::chrono::steady_clock::now() + kElsewhereMost;
  while (g_elsewhere.load(std::memory_order_acquire) != 0 &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Held for the rest of the process, and known to whoever looks for leaks.
void keep(void* object) noexcept {
  static std::mutex mutex;
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory the process ends here
  static auto& kept = *new std::vector<void*>;
  const std::lock_guard lock(mutex);
  kept.push_back(object);
}

/// False when there is no thread to be had.
bool destroy_elsewhere(void* object, void (*destroy)(void*)) noexcept {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  g_elsewhere.fetch_add(1, std::memory_order_relaxed);
  try {
    std::thread([object, destroy] {
      destroy(object);
      g_elsewhere.fetch_sub(1, std::memory_order_release);
    }).detach();
  } catch (const std::system_error&) {
    g_elsewhere.fetch_sub(1, std::memory_order_relaxed);
    started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

}  // namespace

void notice_exit() noexcept {
  // The newest handler runs first. Without memory for one, objects end as if nothing happened.
  (void)std::atexit(&begin_exit);
}

OwnThread::OwnThread() noexcept {
  t_own = true;
}
OwnThread::~OwnThread() {
  t_own = false;
}

LastHandle::LastHandle() noexcept : generation_(base::fork_generation()) {}

void LastHandle::let_go(void* object, void (*destroy)(void*)) const noexcept {
  const bool forked = base::fork_generation() != generation_;
  if (!forked && !exiting()) {
    if (!t_own) return destroy(object);
    if (destroy_elsewhere(object, destroy)) return;
  }
  keep(object);
}

}  // namespace sublet::client
