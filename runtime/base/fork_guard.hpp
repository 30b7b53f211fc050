#pragma once

#include <atomic>
#include <cstdint>

// A child that the application forks has copies of our memory and descriptors, but none of our
// threads. It must neither use what it has, nor keep it alive: a manager sees the end of a client
// by the end of its connection, which a copy of the descriptor would hold open. A child of fork()
// is noticed as it is made, one of clone() or _Fork() when it first uses anything of ours; until
// then, or its exec, it holds what it has. A child of vfork() shares our memory, and lets go by its
// exec.
namespace sublet::base {

/// A number that differs between a process and its child, however that was made. Remember it, and
/// compare. Some instructions.
[[nodiscard]] std::uint64_t fork_generation() noexcept;

/// What a child is told that uses something of its parent's.
inline constexpr const char* kForkedText =
    "this process was forked from the one that opened the session; a child opens a session of its "
    "own";

/// While it lives, forked children get an empty file in place of a descriptor, or find a flag
/// lowered: at once in whatever child where it is in unforked memory (unforked_memory.hpp).
/// Any thread.
class ForkGuard {
 public:
  /// The number stays taken in the child, so that it never becomes somebody else's.
  explicit ForkGuard(int descriptor) noexcept : ForkGuard(descriptor, nullptr) {}
  explicit ForkGuard(std::atomic<bool>& flag) noexcept : ForkGuard(-1, &flag) {}
  ~ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

 private:
  friend struct ForkGuards;
  ForkGuard(int descriptor, std::atomic<bool>* flag) noexcept;

  int descriptor_;
  std::atomic<bool>* flag_;
  ForkGuard* previous_ = nullptr;
  ForkGuard* next_ = nullptr;
};

}  // namespace sublet::base
