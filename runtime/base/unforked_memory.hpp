#pragma once

#include <cstddef>
#include <new>

// Memory that is this process's alone: a child finds zeros in its place, whatever has made the
// child, fork, clone or _Fork. Handlers of pthread_atfork see to fork alone. A child that shares
// the memory, as that of vfork does, is no matter here. (Kernels before 4.14 cannot do this, and
// the memory is like any other.)
namespace sublet::base {

/// Zeros, at the start of a page; null without memory.
[[nodiscard]] void* map_unforked(std::size_t bytes) noexcept;
void unmap_unforked(void* address, std::size_t bytes) noexcept;

/// For containers. Each of their allocations takes whole pages.
template <class T>
struct UnforkedAllocator {
  using value_type = T;
  UnforkedAllocator() = default;
  template <class U>
  UnforkedAllocator(const UnforkedAllocator<U>&) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    void* address = map_unforked(count * sizeof(T));
    if (address == nullptr) throw std::bad_alloc();
    return static_cast<T*>(address);
  }
  void deallocate(T* address, std::size_t count) noexcept {
    unmap_unforked(address, count * sizeof(T));
  }
  friend bool operator==(const UnforkedAllocator&, const UnforkedAllocator&) { return true; }
};

}  // namespace sublet::base
