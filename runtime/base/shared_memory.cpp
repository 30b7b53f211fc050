#include <base/shared_memory.hpp>
#include <base/system_text.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace sublet::base {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

tl::unexpected<Error> system_error(const std::string& attempted, const char* call) {
  const int number = errno;
  return fail(ErrorKind::kInternal, attempted + ": " + call_text(call, number), number);
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
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) {
    return system_error("mapping " + std::to_string(size) + " bytes of shared memory", "mmap");
  }
  SharedMemory memory;
  memory.fd_ = std::move(fd);
  memory.data_ = static_cast<std::byte*>(address);
  memory.size_ = size;
  return memory;
}

Result<SharedMemory> SharedMemory::create(const std::string& name, std::size_t size, Pages pages) {
  const std::string attempted = "making " + std::to_string(size) + " bytes of shared memory";
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return system_error(attempted, "memfd_create");
  if (!may_have_file_of(size) || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return system_error(attempted, "ftruncate");
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_error(attempted, "fcntl(F_ADD_SEALS)");
  }
  auto memory = map_fd(std::move(fd), size);
  // Refused where transparent huge pages for shared memory are off: then the pages stay small.
  // Never from the system's pool (MFD_HUGETLB): that belongs to those who reserved it, and a cgroup
  // that allows none of it raises SIGBUS at the first touch.
  if (memory && pages == Pages::kHuge && size >= kHugePage) {
    ::madvise(memory->data(), size, MADV_HUGEPAGE);
  }
  return memory;
}

Result<SharedMemory> SharedMemory::map(Fd fd, std::size_t expected_size) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0)
    return system_error("looking at a peer's shared memory", "fstat");
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
  const std::string attempted =
      "keeping the " + std::to_string(content.size()) + " bytes of '" + name + "' in memory";
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!fd.valid() && errno == EINVAL) {  // kernels before 6.3 do not know MFD_EXEC
    fd.reset(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  if (!fd.valid() && errno == EACCES) {
    return fail(ErrorKind::kUnsupported,
                attempted +
                    ": memfd_create: this system forbids executable ones; function libraries need "
                    "them: set sysctl vm.memfd_noexec to 0 or 1",
                EACCES);
  }
  if (!fd.valid()) return system_error(attempted, "memfd_create");
  if (!may_have_file_of(content.size())) return system_error(attempted, "write");
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return system_error(attempted, "write");
    done += static_cast<std::size_t>(n);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0) {
    return system_error(attempted, "fcntl(F_ADD_SEALS)");
  }
  return fd;
}

}  // namespace sublet::base
