#include <base/fork_guard.hpp>
#include <base/unforked_memory.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <new>

namespace sublet::base {

/// All guards of this process, and what becomes of them in a child.
struct ForkGuards {
  static void add(ForkGuard& guard) noexcept {
    static const int registered = ::pthread_atfork(&before, &after_in_parent, &after_in_child);
    (void)registered;    // fails without memory: then children are noticed when they call
    (void)generation();  // the list is this process's from here on
    const std::lock_guard lock(mutex);
    guard.next_ = first;
    if (first != nullptr) first->previous_ = &guard;
    first = &guard;
  }

  static void remove(ForkGuard& guard) noexcept {
    (void)generation();
    const std::lock_guard lock(mutex);
    if (guard.next_ != nullptr) guard.next_->previous_ = guard.previous_;
    (guard.previous_ == nullptr ? first : guard.previous_->next_) = guard.next_;
  }

  static std::uint64_t generation() noexcept {
    const std::uint64_t known = mark().load(std::memory_order_relaxed);
    return known != 0 ? known : notice_child();
  }

 private:
  /// The number of this process; 0 in a child that has not been noticed.
  static std::atomic<std::uint64_t>& mark() noexcept {
    static std::atomic<std::uint64_t>& mark = *[] {
      void* place = map_unforked(sizeof(std::atomic<std::uint64_t>));
      if (place == nullptr) {
        static std::atomic<std::uint64_t> ordinary;
        place = &ordinary;
      }
      return new (place) std::atomic<std::uint64_t>(newest.load(std::memory_order_relaxed));
    }();
    return mark;
  }

  /// A child that fork() has not made, in its first call.
  static std::uint64_t notice_child() noexcept {
    const std::uint64_t number = newest.fetch_add(1, std::memory_order_relaxed) + 1;
    std::uint64_t known = 0;
    if (!mark().compare_exchange_strong(known, number, std::memory_order_relaxed)) return known;
    let_go();
    return number;
  }

  // The list is whole in the child.
  static void before() noexcept {
    (void)generation();
    mutex.lock();
  }
  static void after_in_parent() noexcept { mutex.unlock(); }

  static void after_in_child() noexcept {
    mark().store(newest.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    let_go();
  }

  static void let_go() noexcept {
    new (&mutex) std::mutex;  // whoever has locked it is no thread of this process
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (ForkGuard* guard = first; guard != nullptr; guard = guard->next_) {
      if (guard->flag_ != nullptr) guard->flag_->store(false, std::memory_order_release);
      if (guard->descriptor_ < 0) continue;
      if (nothing < 0 || ::dup3(nothing, guard->descriptor_, O_CLOEXEC) < 0) {
        ::close(guard->descriptor_);
      }
    }
    if (nothing >= 0) ::close(nothing);
  }

  static inline std::mutex mutex;
  static inline ForkGuard* first = nullptr;
  static inline std::atomic<std::uint64_t> newest{1};
};

std::uint64_t fork_generation() noexcept {
  return ForkGuards::generation();
}

ForkGuard::ForkGuard(int descriptor, std::atomic<bool>* flag) noexcept
    : descriptor_(descriptor), flag_(flag) {
  ForkGuards::add(*this);
}

ForkGuard::~ForkGuard() {
  ForkGuards::remove(*this);
}

}  // namespace sublet::base
