#pragma once

#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>

namespace sublet::executor {

/// What the main thread of an ordinary process has, so that a function that runs as a program runs
/// as a function; only the pages that are used cost memory.
inline constexpr std::size_t kWorkerStack = std::size_t{8} << 20;

/// For fatal handlers. They need about 2 KiB, the saved vector registers up to 12 KiB.
inline constexpr std::size_t kHandlerStack = 64u << 10;

/// Where functions write outputs that travel in the reply (40 bytes). The rFaaS form is not told
/// how much room it has: what it writes too much lands here and is reported, and past the end is a
/// guard.
inline constexpr std::size_t kScratch = 64u << 10;

/// Between any two of these: a multiple of every page size in use.
inline constexpr std::size_t kGuard = 64u << 10;

/// The private memory of an executor's workers: stacks, handler stacks and scratch, with guards
/// between them. Made before the workers' threads; lives as long as the process.
class WorkerMemory {
 public:
  static Result<WorkerMemory> make(std::uint32_t workers);

  [[nodiscard]] std::byte* stack(std::uint32_t worker) const noexcept {
    return base_ + worker * kStride + kGuard;
  }
  [[nodiscard]] std::byte* handler_stack(std::uint32_t worker) const noexcept {
    return stack(worker) + kWorkerStack + kGuard;
  }
  [[nodiscard]] std::byte* scratch(std::uint32_t worker) const noexcept {
    return handler_stack(worker) + kHandlerStack + kGuard;
  }

 private:
  static constexpr std::size_t kStride =
      kGuard + kWorkerStack + kGuard + kHandlerStack + kGuard + kScratch;
  explicit WorkerMemory(std::byte* base) noexcept : base_(base) {}
  std::byte* base_;
};

}  // namespace sublet::executor
