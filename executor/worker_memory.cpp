#include <base/system_text.hpp>
#include <executor/worker_memory.hpp>

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sublet::executor {
namespace {

tl::unexpected<Error> no_stacks(std::uint32_t workers, std::size_t stack) {
  const int number = errno;
  return fail(ErrorKind::kOverloaded,
              "reserving the stacks of " + std::to_string(workers) + " workers, " +
                  std::to_string(stack >> 10) + " KiB each: " + base::system_text(number) +
                  "; see --stack-size of the executor manager, and ulimit -v",
              number);
}

/// What guards may take where address space is counted: a small part, the rest is for functions.
std::size_t guards_allowed() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kAllStackGuards;
  }
  return static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur / 16, kAllStackGuards));
}

}  // namespace

Result<WorkerMemory> WorkerMemory::make(std::uint32_t workers, std::size_t stack_bytes) {
  const std::size_t stack = (std::max(stack_bytes, kGuard) + kGuard - 1) / kGuard * kGuard;
  const std::size_t guard = std::min(guards_allowed() / workers, kLargestStackGuard);
  WorkerMemory memory(stack, std::max(guard / kGuard * kGuard, kGuard));
  if (auto reserved = memory.reserve(workers); !reserved) {
    return tl::unexpected<Error>(reserved.error());
  }
  if (auto opened = memory.open_up(workers); !opened) return tl::unexpected<Error>(opened.error());
  return memory;
}

Result<void> WorkerMemory::reserve(std::uint32_t workers) {
  for (;; guard_ = std::max(guard_ / 2 / kGuard * kGuard, kGuard)) {
    const std::size_t size = workers * stride() + kGuard;
    void* address = ::mmap(nullptr, size, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (address != MAP_FAILED) {
      // A transparent huge page at the top of a stack would cost each start the zeroing of 2 MiB.
      // Kernels without huge pages refuse; then there is nothing to prevent.
      (void)::madvise(address, size, MADV_NOHUGEPAGE);
      base_ = static_cast<std::byte*>(address);
      return {};
    }
    if (guard_ == kGuard) return no_stacks(workers, stack_);
  }
}

Result<void> WorkerMemory::open_up(std::uint32_t workers) const {
  constexpr int kUse = PROT_READ | PROT_WRITE;
  for (std::uint32_t i = 0; i < workers; ++i) {
    if (::mprotect(stack(i), stack_, kUse) != 0 ||
        ::mprotect(handler_stack(i), kHandlerStack, kUse) != 0 ||
        ::mprotect(scratch(i), kScratch, kUse) != 0) {
      return no_stacks(workers, stack_);
    }
  }
  return {};
}

}  // namespace sublet::executor
