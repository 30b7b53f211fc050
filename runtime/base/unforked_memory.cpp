#include <base/unforked_memory.hpp>

#include <sys/mman.h>

namespace sublet::base {

void* map_unforked(std::size_t bytes) noexcept {
  void* address =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  (void)::madvise(address, bytes, MADV_WIPEONFORK);
  return address;
}

void unmap_unforked(void* address, std::size_t bytes) noexcept {
  ::munmap(address, bytes);
}

}  // namespace sublet::base
