#include <base/shared_memory.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cstring>
#include <string>
#include <vector>

namespace sublet::base {
namespace {

using Pages = SharedMemory::Pages;

Fd duplicate(int fd) {
  return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/// A memfd with chosen seals, as a peer could send it.
Fd raw_memfd(std::size_t size, int seals) {
  Fd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

TEST(SharedMemory, IsZeroedAndHasItsSize) {
  auto memory = SharedMemory::create("test", 8192, Pages::kSmall);
  ASSERT_TRUE(memory) << memory.error().what();
  EXPECT_EQ(memory->size(), 8192u);
  EXPECT_EQ(std::vector<std::byte>(8192), std::vector(memory->data(), memory->data() + 8192));
}

TEST(SharedMemory, CannotChangeItsSize) {
  auto memory = SharedMemory::create("test", 8192, Pages::kSmall);
  ASSERT_TRUE(memory);
  EXPECT_NE(::ftruncate(memory->fd(), 4096), 0);
  EXPECT_NE(::ftruncate(memory->fd(), 16384), 0);
  EXPECT_NE(::fcntl(memory->fd(), F_ADD_SEALS, F_SEAL_WRITE), 0) << "seals can be added";
}

TEST(SharedMemory, IsNotInheritedByOtherPrograms) {
  auto memory = SharedMemory::create("test", 4096, Pages::kSmall);
  ASSERT_TRUE(memory);
  EXPECT_NE(::fcntl(memory->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(SharedMemory, ShowsOneMappingsWritesInTheOther) {
  auto memory = SharedMemory::create("test", 4096, Pages::kSmall);
  ASSERT_TRUE(memory);
  auto other = SharedMemory::map(duplicate(memory->fd()), 4096);
  ASSERT_TRUE(other) << other.error().what();
  ASSERT_NE(memory->data(), other->data());
  std::strcpy(reinterpret_cast<char*>(memory->data() + 100), "seen");
  EXPECT_STREQ(reinterpret_cast<char*>(other->data() + 100), "seen");
}

TEST(SharedMemory, OutlivesWhoeverMadeIt) {
  auto memory = SharedMemory::create("test", 4096, Pages::kSmall);
  ASSERT_TRUE(memory);
  auto other = SharedMemory::map(duplicate(memory->fd()), 4096);
  ASSERT_TRUE(other);
  memory->data()[0] = std::byte{42};
  *memory = SharedMemory();
  EXPECT_FALSE(memory->valid());
  EXPECT_EQ(other->data()[0], std::byte{42});
}

TEST(SharedMemory, RefusesWhatCouldShrinkUnderIt) {
  for (const int seals : {0, F_SEAL_GROW, F_SEAL_SEAL}) {
    const auto memory = SharedMemory::map(raw_memfd(4096, seals), 4096);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(memory.error().what()).find("not sealed"), std::string::npos);
  }
  EXPECT_TRUE(SharedMemory::map(raw_memfd(4096, F_SEAL_SHRINK), 4096));
}

TEST(SharedMemory, RefusesAnotherSizeThanAnnounced) {
  for (const std::size_t actual : {0u, 1u, 4095u, 4097u, 8192u}) {
    const auto memory = SharedMemory::map(raw_memfd(actual, F_SEAL_SHRINK), 4096);
    ASSERT_FALSE(memory) << actual;
    EXPECT_EQ(memory.error().kind(), ErrorKind::kInvalid);
  }
  EXPECT_FALSE(SharedMemory::map(raw_memfd(0, F_SEAL_SHRINK), 0)) << "nothing cannot be mapped";
}

TEST(SharedMemory, RefusesWhatIsNoSharedMemory) {
  EXPECT_FALSE(SharedMemory::map(Fd(), 4096));
  EXPECT_FALSE(SharedMemory::map(Fd(::open("/dev/zero", O_RDWR | O_CLOEXEC)), 4096));
  // A file of a temporary file system can be mapped and has seals, but none against shrinking.
  Fd file(::open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file.valid()) {
    ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
    EXPECT_FALSE(SharedMemory::map(std::move(file), 4096));
  }
}

TEST(SharedMemory, RefusesWhatCannotBeWritten) {
  EXPECT_FALSE(SharedMemory::map(raw_memfd(4096, F_SEAL_SHRINK | F_SEAL_WRITE), 4096));
  const Fd writable = raw_memfd(4096, F_SEAL_SHRINK);
  const std::string path = "/proc/self/fd/" + std::to_string(writable.get());
  Fd read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_only.valid());
  EXPECT_FALSE(SharedMemory::map(std::move(read_only), 4096));
}

TEST(SharedMemory, SaysHowMuchItCouldNotMake) {
  const auto memory =
      SharedMemory::create("test", static_cast<std::size_t>(1) << 62, Pages::kSmall);
  ASSERT_FALSE(memory);
  EXPECT_NE(std::string(memory.error().what()).find(std::to_string(std::size_t{1} << 62)),
            std::string::npos)
      << memory.error().what();
  EXPECT_NE(memory.error().system_errno(), 0);
}

/// Lowers the size that a file may have; raises it again.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit lower{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

TEST(SharedMemory, NamesTheFileSizeLimitThatItWouldBreak) {
  const FileSizeLimit limit(8192);
  const auto memory = SharedMemory::create("test", 8193, Pages::kSmall);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().system_errno(), EFBIG);
  EXPECT_NE(std::string(memory.error().what()).find("ulimit -f"), std::string::npos)
      << memory.error().what();
  EXPECT_TRUE(SharedMemory::create("test", 8192, Pages::kSmall));
  const std::string content(8193, 'x');
  const auto copy = SharedMemory::sealed_copy("library", std::as_bytes(std::span(content)));
  ASSERT_FALSE(copy);
  EXPECT_NE(std::string(copy.error().what()).find("ulimit -f"), std::string::npos)
      << copy.error().what();
}

TEST(SharedMemory, TakesNothingFromThePoolOfHugePages) {
  auto memory = SharedMemory::create("test", std::size_t{4} << 20, Pages::kHuge);
  ASSERT_TRUE(memory) << memory.error().what();
  struct statfs info {};
  ASSERT_EQ(::fstatfs(memory->fd(), &info), 0);
  EXPECT_NE(info.f_type, HUGETLBFS_MAGIC);
}

TEST(SharedMemory, WorksWhetherOrNotThereAreHugePages) {
  // Sparse, so that it costs nothing.
  for (const std::size_t size : {std::size_t{4} << 20, std::size_t{1} << 37}) {
    auto memory = SharedMemory::create("test", size, Pages::kHuge);
    ASSERT_TRUE(memory) << memory.error().what();
    memory->data()[0] = std::byte{1};
    memory->data()[size - 1] = std::byte{2};
    auto other = SharedMemory::map(duplicate(memory->fd()), size);
    ASSERT_TRUE(other) << other.error().what();
    EXPECT_EQ(other->data()[size - 1], std::byte{2});
  }
}

TEST(SealedCopy, HoldsTheContentAndCannotBeChanged) {
  const std::string content(100'000, 'x');
  auto fd = SharedMemory::sealed_copy("library", std::as_bytes(std::span(content)));
  ASSERT_TRUE(fd) << fd.error().what();
  std::string read(content.size() + 1, '\0');
  EXPECT_EQ(::pread(fd->get(), read.data(), read.size(), 0), static_cast<ssize_t>(content.size()));
  read.resize(content.size());
  EXPECT_EQ(read, content);
  EXPECT_LT(::pwrite(fd->get(), "y", 1, 0), 0);
  EXPECT_NE(::ftruncate(fd->get(), 1), 0);
  EXPECT_NE(::ftruncate(fd->get(), 1'000'000), 0);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0), MAP_FAILED);
}

TEST(SealedCopy, MayBeEmpty) {
  auto fd = SharedMemory::sealed_copy("empty", {});
  ASSERT_TRUE(fd);
  struct stat info {};
  ASSERT_EQ(::fstat(fd->get(), &info), 0);
  EXPECT_EQ(info.st_size, 0);
}

}  // namespace
}  // namespace sublet::base
