#include <base/fork_guard.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <mutex>

namespace sublet::base {

/// All guards of this process, and what fork() does with them.
struct ForkGuards {
  static void add(ForkGuard& guard) noexcept {
    static const int registered = ::pthread_atfork(&before, &after_in_parent, &after_in_child);
    (void)registered;  // fails without memory: then children keep what they have
    const std::lock_guard lock(mutex);
    guard.next_ = first;
    if (first != nullptr) first->previous_ = &guard;
    first = &guard;
  }

  static void remove(ForkGuard& guard) noexcept {
    const std::lock_guard lock(mutex);
    if (guard.next_ != nullptr) guard.next_->previous_ = guard.previous_;
    (guard.previous_ == nullptr ? first : guard.previous_->next_) = guard.next_;
  }

  // The list is whole in the child.
  static void before() noexcept { mutex.lock(); }
  static void after_in_parent() noexcept { mutex.unlock(); }

  static void after_in_child() noexcept {
    generation.fetch_add(1, std::memory_order_relaxed);
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (ForkGuard* guard = first; guard != nullptr; guard = guard->next_) {
      if (guard->flag_ != nullptr) guard->flag_->store(true, std::memory_order_release);
      if (guard->descriptor_ < 0) continue;
      if (nothing < 0 || ::dup3(nothing, guard->descriptor_, O_CLOEXEC) < 0) {
        ::close(guard->descriptor_);
      }
    }
    if (nothing >= 0) ::close(nothing);
    mutex.unlock();
  }

  static inline std::mutex mutex;
  static inline ForkGuard* first = nullptr;
  static inline std::atomic<std::uint64_t> generation{0};
};

std::uint64_t fork_generation() noexcept {
  return ForkGuards::generation.load(std::memory_order_relaxed);
}

ForkGuard::ForkGuard(int descriptor, std::atomic<bool>* flag) noexcept
    : descriptor_(descriptor), flag_(flag) {
  ForkGuards::add(*this);
}

ForkGuard::~ForkGuard() {
  ForkGuards::remove(*this);
}

}  // namespace sublet::base
