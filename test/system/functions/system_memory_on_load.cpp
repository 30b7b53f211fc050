#include <sublet/function.hpp>

#include <sys/mman.h>

#include <cstdlib>

// Shared memory does not count for RLIMIT_DATA: only a cgroup keeps it within the lease's limit.
namespace {
struct MemoryOnLoad {
  MemoryOnLoad() {
    const std::size_t size = std::size_t{1} << 30;
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    for (std::size_t i = 0; i < size; i += 4096) static_cast<volatile char*>(memory)[i] = 1;
    munmap(memory, size);
  }
} memory_on_load;
}  // namespace

SUBLET_FUNCTION(never, const double& in, double& out) {
  out = in;
}
