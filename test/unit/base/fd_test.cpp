#include <base/fd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <cerrno>

namespace sublet::base {
namespace {

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

Fd make() {
  return Fd(::eventfd(0, EFD_CLOEXEC));
}

TEST(Fd, ClosesWhenItGoes) {
  int number = -1;
  {
    const Fd fd = make();
    ASSERT_TRUE(fd.valid());
    number = fd.get();
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, IsEmptyWhenMovedFrom) {
  Fd from = make();
  const int number = from.get();
  const Fd to(std::move(from));
  EXPECT_EQ(to.get(), number);
  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move): that is the promise
  EXPECT_TRUE(is_open(number));
}

TEST(Fd, ClosesWhatItHeldWhenAssignedTo) {
  Fd fd = make();
  const int first = fd.get();
  Fd other = make();
  const int second = other.get();
  fd = std::move(other);
  EXPECT_EQ(fd.get(), second);
  EXPECT_FALSE(is_open(first));
  EXPECT_TRUE(is_open(second));
}

TEST(Fd, SurvivesAssignmentToItself) {
  Fd fd = make();
  const int number = fd.get();
  Fd& same = fd;
  fd = std::move(same);
  EXPECT_EQ(fd.get(), number);
  EXPECT_TRUE(is_open(number));
}

TEST(Fd, GivesUpWhatItReleases) {
  int number = -1;
  {
    Fd fd = make();
    number = fd.release();
    EXPECT_FALSE(fd.valid());
  }
  ASSERT_TRUE(is_open(number));
  ::close(number);
}

}  // namespace
}  // namespace sublet::base
