#pragma once

#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>

namespace sublet::executor {

/// What a worker's stack has when nobody says: as the main thread of an ordinary process. Only the
/// pages that are used cost memory.
inline constexpr std::size_t kWorkerStack = std::size_t{8} << 20;

/// For fatal handlers. They need about 2 KiB, the saved vector registers up to 12 KiB.
inline constexpr std::size_t kHandlerStack = 64u << 10;

/// Where functions write outputs that travel in the reply (40 bytes). The rFaaS form is not told
/// how much room it has: what it writes too much lands here and is reported, and past the end is a
/// guard.
inline constexpr std::size_t kScratch = 64u << 10;

/// Between any two of these: a multiple of every page size in use.
inline constexpr std::size_t kGuard = 64u << 10;

/// Below a stack: a function with large automatic arrays touches memory far below the pages it has.
/// Address space alone, so it is larger than any such frame, and shrinks where that is limited.
inline constexpr std::size_t kLargestStackGuard = std::size_t{64} << 30;
inline constexpr std::size_t kAllStackGuards = std::size_t{8} << 40;

/// The private memory of an executor's workers: stacks, handler stacks and scratch, with guards
/// between them. Made before the workers' threads; lives as long as the process.
class WorkerMemory {
 public:
  /// Stacks of `stack_bytes`, rounded up to kGuard.
  static Result<WorkerMemory> make(std::uint32_t workers, std::size_t stack_bytes = kWorkerStack);

  [[nodiscard]] std::size_t stack_bytes() const noexcept { return stack_; }
  /// Below each stack.
  [[nodiscard]] std::size_t stack_guard() const noexcept { return guard_; }
  [[nodiscard]] std::byte* stack(std::uint32_t worker) const noexcept {
    return base_ + worker * stride() + guard_;
  }
  [[nodiscard]] std::byte* handler_stack(std::uint32_t worker) const noexcept {
    return stack(worker) + stack_ + kGuard;
  }
  [[nodiscard]] std::byte* scratch(std::uint32_t worker) const noexcept {
    return handler_stack(worker) + kHandlerStack + kGuard;
  }

 private:
  WorkerMemory(std::size_t stack, std::size_t guard) noexcept : stack_(stack), guard_(guard) {}
  [[nodiscard]] std::size_t stride() const noexcept {
    return guard_ + stack_ + kGuard + kHandlerStack + kGuard + kScratch;
  }
  Result<void> reserve(std::uint32_t workers);
  Result<void> open_up(std::uint32_t workers) const;

  std::size_t stack_;
  std::size_t guard_;
  std::byte* base_ = nullptr;
};

}  // namespace sublet::executor
