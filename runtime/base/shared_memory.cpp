#include <base/shared_memory.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

namespace sublet::base {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

std::size_t free_huge_pages() {
  std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  std::size_t count = 0;
  return file >> count ? count : 0;
}

tl::unexpected<Error> system_error(const std::string& attempted) {
  return fail(ErrorKind::kInternal, attempted + ": " + std::strerror(errno), errno);
}

}  // namespace

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void SharedMemory::swap(SharedMemory& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
}

Result<SharedMemory> SharedMemory::map_fd(Fd fd, std::size_t size) {
  // Not MAP_NORESERVE: a memfd is sparse without it, and huge pages that nobody has reserved raise
  // SIGBUS when the pool runs dry between mapping and touching them.
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) {
    return system_error("mapping " + std::to_string(size) + " bytes of shared memory");
  }
  SharedMemory memory;
  memory.fd_ = std::move(fd);
  memory.data_ = static_cast<std::byte*>(address);
  memory.size_ = size;
  return memory;
}

Result<SharedMemory> SharedMemory::create(const std::string& name, std::size_t size, Pages pages) {
  const bool huge = pages == Pages::kHuge && size >= kHugePage;
  if (huge && size % kHugePage == 0 && free_huge_pages() >= size / kHugePage) {
    Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
    if (fd.valid() && ::ftruncate(fd.get(), static_cast<off_t>(size)) == 0 &&
        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
      if (auto memory = map_fd(std::move(fd), size)) return memory;
    }
    // Somebody else took the pages in between: go on with small ones.
  }
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_error("making " + std::to_string(size) + " bytes of shared memory");
  }
  auto memory = map_fd(std::move(fd), size);
  // Refused where transparent huge pages for shared memory are off: then the pages stay small.
  if (memory && huge) ::madvise(memory->data(), size, MADV_HUGEPAGE);
  return memory;
}

Result<SharedMemory> SharedMemory::map(Fd fd, std::size_t expected_size) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("looking at a peer's shared memory");
  if (static_cast<std::size_t>(info.st_size) != expected_size || expected_size == 0) {
    return fail(ErrorKind::kInvalid,
                "the peer's shared memory has " + std::to_string(info.st_size) +
                    " bytes where it announced " + std::to_string(expected_size));
  }
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return fail(ErrorKind::kInvalid, "the peer's shared memory is not sealed against shrinking");
  }
  return map_fd(std::move(fd), expected_size);
}

Result<Fd> SharedMemory::sealed_copy(const std::string& name, std::span<const std::byte> content) {
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!fd.valid() && errno == EINVAL) {  // kernels before 6.3 do not know MFD_EXEC
    fd.reset(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  if (!fd.valid()) return system_error("making a memfd for '" + name + "'");
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return system_error("writing a memfd for '" + name + "'");
    done += static_cast<std::size_t>(n);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0) {
    return system_error("sealing the memfd of '" + name + "'");
  }
  return fd;
}

}  // namespace sublet::base
