#include <base/memory_pressure.hpp>
#include <base/unix_socket.hpp>
#include <executor/spare_executors.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace sublet::executor {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// After an order or an end: the first call of the one, and the end of the other, need the cores
/// more. Where they come without such a pause, nothing waits longer than kLongestPause.
constexpr auto kPause = 20ms;
constexpr auto kLongestPause = 100ms;

/// Between two looks at demand and memory while nothing is missing, or nothing can be made.
constexpr auto kLook = 5s;

/// Spares that end by themselves, one after the other: then something here kills them, and none is
/// made any more.
constexpr unsigned kMostDeaths = 8;

/// Larger mappings are arenas and reservations, of which a start uses little.
constexpr std::size_t kLargestTouched = std::size_t{4} << 20;

/// Since Linux 5.14; the C library of Debian 12 has the names, older ones have not.
constexpr int kPopulateRead = 22;
constexpr int kPopulateWrite = 23;

}  // namespace

void SpareDemand::ordered(Time now) {
  if (most_ == 0) return;
  if (orders_.size() == most_) orders_.pop_front();
  orders_.push_back(now);
}

std::size_t SpareDemand::wanted(Time now) {
  while (!orders_.empty() && now - orders_.front() > kWindow) orders_.pop_front();
  return std::min(most_, std::max<std::size_t>(orders_.size(), 1));
}

void SpareExecutors::allow(std::size_t most) {
  most_ = most;
  demand_ = SpareDemand(most);
  deaths_ = 0;
  due_ = missing_since_ = steady_clock::now();
  postpone();
}

void SpareExecutors::postpone() {
  const auto now = steady_clock::now();
  if (due_ > now + kPause) missing_since_ = now;  // until then nothing was missing
  due_ = std::min(now + kPause, std::max(now, missing_since_ + kLongestPause));
}

std::optional<SpareExecutors::Taken> SpareExecutors::take(const wire::ReceivedMessage& order) {
  demand_.ordered(steady_clock::now());
  std::vector<int> fds;
  for (const base::Fd& fd : order.fds) fds.push_back(fd.get());
  while (!spares_.empty()) {
    Spare spare = std::move(spares_.back());
    spares_.pop_back();
    const wire::MessageHeader header{order.type, static_cast<std::uint32_t>(order.body.size())};
    std::vector<std::byte> packet(sizeof(header) + order.body.size());
    std::memcpy(packet.data(), &header, sizeof(header));
    std::memcpy(packet.data() + sizeof(header), order.body.data(), order.body.size());
    if (base::send_packet(spare.order.get(), packet, fds)) {
      deaths_ = 0;
      return Taken{spare.pid, std::move(spare.pidfd)};
    }
    // It has been killed meanwhile; the caller reaps it as any child.
  }
  return std::nullopt;
}

bool SpareExecutors::has(pid_t pid) const noexcept {
  return std::any_of(spares_.begin(), spares_.end(),
                     [pid](const Spare& spare) { return spare.pid == pid; });
}

bool SpareExecutors::ended(pid_t pid) {
  const auto before = spares_.size();
  std::erase_if(spares_, [pid](const Spare& spare) { return spare.pid == pid; });
  if (spares_.size() == before) return false;
  if (++deaths_ == kMostDeaths) {
    std::fprintf(stderr,
                 "sublet-executor[%d]: processes that wait for a lease keep ending; leases start "
                 "without them from now on\n",
                 static_cast<int>(::getpid()));
  }
  postpone();
  return true;
}

int SpareExecutors::timeout_ms() const {
  if (most_ == 0 && spares_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(due_ - steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

void SpareExecutors::look() {
  const auto now = steady_clock::now();
  if (now < due_) return;
  const std::size_t wanted =
      deaths_ >= kMostDeaths || base::memory_is_short() ? 0 : demand_.wanted(now);
  bool made = true;
  if (spares_.size() > wanted) {
    end_one();
  } else if (spares_.size() < wanted) {
    made = make_one();
  }
  if (spares_.size() == wanted || !made) {
    due_ = now + kLook;
  } else {
    due_ = missing_since_ = now;
  }
}

/// False when the system has no process or descriptor left. The next order says so, if it is still
/// true then.
bool SpareExecutors::make_one() {
  auto sockets = base::make_socketpair();
  if (!sockets) return false;
  // It has its name from its first moment on.
  std::array<char, 16> own_name{};
  ::prctl(PR_GET_NAME, own_name.data(), 0, 0, 0);
  ::prctl(PR_SET_NAME, "sublet-spare", 0, 0, 0);
  const pid_t pid = ::fork();
  if (pid == 0) body_(std::move(sockets->second));
  ::prctl(PR_SET_NAME, own_name.data(), 0, 0, 0);
  if (pid < 0) return false;
  ::setpgid(pid, pid);
  base::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  spares_.push_back({pid, std::move(pidfd), std::move(sockets->first)});
  return true;
}

/// It ends because its socket closes; whoever reaps it finds nothing of it here.
void SpareExecutors::end_one() noexcept {
  spares_.erase(spares_.begin());
}

void SpareExecutors::end_all() noexcept {
  most_ = 0;
  spares_.clear();
}

void touch_own_pages() noexcept {
  std::FILE* const maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return;
  char line[512];
  while (std::fgets(line, sizeof(line), maps) != nullptr) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    char access[5] = {};
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, access) != 3) continue;
    if (access[0] != 'r' || access[3] != 'p' || to - from > kLargestTouched) continue;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): that is what the file has
    auto* const start = reinterpret_cast<void*>(from);
    (void)::madvise(start, to - from, access[1] == 'w' ? kPopulateWrite : kPopulateRead);
  }
  std::fclose(maps);
}

}  // namespace sublet::executor
