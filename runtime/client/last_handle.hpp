#pragma once

#include <atomic>
#include <cstdint>

// The last handle of a session or a lease may go at any place: in a callback, which runs on the
// helper thread that the object's end needs; while the process exits, when the threads that use it
// still run; in a forked child, which has none of its threads.
namespace sublet::client {

/// From now on the end of the process is noticed as its exit() begins: before the destructors of
/// what was made until now. To be called when a session opens and before a callback of the
/// application's, which may be where it exits.
void notice_exit() noexcept;

extern constinit std::atomic<bool> g_exiting;

/// Since notice_exit() has been called: exit() is under way, and other threads may be in calls.
[[nodiscard]] inline bool exiting() noexcept {
  return g_exiting.load(std::memory_order_relaxed);
}

/// While it lives, the calling thread is one that objects need for their end.
class OwnThread {
 public:
  OwnThread() noexcept;
  ~OwnThread();
  OwnThread(const OwnThread&) = delete;
  OwnThread& operator=(const OwnThread&) = delete;
};

/// Destroys `object`: here, on another thread, or not at all, as the place allows. What an exiting
/// process or a forked child keeps goes with it.
class LastHandle {
 public:
  LastHandle() noexcept;
  template <class T>
  void operator()(T* object) const noexcept {
    let_go(object, [](void* held) { delete static_cast<T*>(held); });
  }

 private:
  void let_go(void* object, void (*destroy)(void*)) const noexcept;
  std::uint64_t generation_;  ///< Of forks, when the object was made.
};

}  // namespace sublet::client
