#include <base/descriptors.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

namespace sublet::base {
namespace {

void close_between(int first, int last) noexcept {
  if (first > last ||
      ::close_range(static_cast<unsigned>(first), static_cast<unsigned>(last), 0) == 0) {
    return;
  }
  // Kernels before 5.9.
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const int highest = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1u << 20));
  for (int fd = first; fd <= last && fd < highest; ++fd) ::close(fd);
}

}  // namespace

void close_all_but(std::span<const int> keep) noexcept {
  std::array<int, 16> kept{};
  const std::size_t count = std::min(keep.size(), kept.size());
  std::copy_n(keep.begin(), count, kept.begin());
  std::sort(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(count));
  int first = STDERR_FILENO + 1;
  for (std::size_t i = 0; i < count; ++i) {
    if (kept[i] < first) continue;
    close_between(first, kept[i] - 1);
    first = kept[i] + 1;
  }
  close_between(first, INT_MAX);
}

bool open_standard_descriptors() noexcept {
  int fd;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd < 0) return false;
  ::close(fd);
  return true;
}

void read_nothing() noexcept {
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing < 0) return;
  ::dup2(nothing, STDIN_FILENO);
  ::close(nothing);
}

}  // namespace sublet::base
