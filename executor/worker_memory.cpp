#include <base/system_text.hpp>
#include <executor/worker_memory.hpp>

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace sublet::executor {

Result<WorkerMemory> WorkerMemory::make(std::uint32_t workers) {
  const std::size_t size = workers * kStride + kGuard;
  const auto failed = [&] {
    const int number = errno;
    return fail(ErrorKind::kOverloaded,
                "reserving the stacks of " + std::to_string(workers) +
                    " workers: " + base::system_text(number),
                number);
  };
  void* address = ::mmap(nullptr, size, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (address == MAP_FAILED) return failed();
  // A transparent huge page at the top of a stack would cost each start the zeroing of 2 MiB.
  // Kernels without huge pages refuse; then there is nothing to prevent.
  (void)::madvise(address, size, MADV_NOHUGEPAGE);
  const WorkerMemory memory(static_cast<std::byte*>(address));
  for (std::uint32_t i = 0; i < workers; ++i) {
    constexpr int kUse = PROT_READ | PROT_WRITE;
    if (::mprotect(memory.stack(i), kWorkerStack, kUse) != 0 ||
        ::mprotect(memory.handler_stack(i), kHandlerStack, kUse) != 0 ||
        ::mprotect(memory.scratch(i), kScratch, kUse) != 0) {
      return failed();
    }
  }
  return memory;
}

}  // namespace sublet::executor
