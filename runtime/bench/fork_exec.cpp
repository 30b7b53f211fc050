#include "fork_exec.hpp"

#include <base/clock.hpp>
#include <base/unix_socket.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>

namespace sublet::bench {
namespace {

using namespace std::chrono_literals;

/// The whole batch; kMaxForkExecs on a machine a hundred times slower than usual.
constexpr auto kBatchLimit = 10s;

struct Times {
  std::uint32_t count = 0;
  std::array<std::uint64_t, kMaxForkExecs> ns{};  // 0: it could not be started
};

std::uint64_t time_one() {
  const base::Ticks start = base::ticks();
  const pid_t pid = ::fork();
  if (pid == 0) {
    char name[] = "/bin/true";
    char* const argv[] = {name, nullptr};
    ::execv(name, argv);
    ::_exit(127);
  }
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0) return 0;
  return std::max<std::uint64_t>(base::TickRate::get().to_ns(base::ticks() - start), 1);
}

void serve(int socket) {
  for (;;) {
    std::uint32_t count = 0;
    const auto packet =
        base::receive_packet(socket, std::as_writable_bytes(std::span(&count, 1)), -1ms);
    if (!packet || packet->size != sizeof(count)) return;  // the benchmark is over
    Times times;
    times.count = std::min(count, kMaxForkExecs);
    for (std::uint32_t i = 0; i < times.count; ++i) times.ns[i] = time_one();
    if (!base::send_packet(socket, std::as_bytes(std::span(&times, 1)))) return;
  }
}

}  // namespace

Result<ForkExecTimer> ForkExecTimer::start() {
  auto sockets = base::make_socketpair();
  if (!sockets) return tl::unexpected<Error>(std::move(sockets.error()));
  base::TickRate::get();  // measured here once, not in the helper
  auto helper = HelperProcess::start([&sockets] {
    sockets->first.reset();
    serve(sockets->second.get());
  });
  if (!helper) return tl::unexpected<Error>(std::move(helper.error()));
  ForkExecTimer timer;
  timer.socket_ = std::move(sockets->first);
  timer.helper_ = std::move(*helper);
  return timer;
}

Result<std::vector<double>> ForkExecTimer::run(unsigned count) {
  const std::uint32_t wanted = std::min(count, kMaxForkExecs);
  if (auto sent = base::send_packet(socket_.get(), std::as_bytes(std::span(&wanted, 1))); !sent) {
    return tl::unexpected<Error>(std::move(sent.error()));
  }
  Times times;
  const auto packet = base::receive_packet(
      socket_.get(), std::as_writable_bytes(std::span(&times, 1)), kBatchLimit);
  if (!packet) return tl::unexpected<Error>(packet.error());
  if (packet->size != sizeof(times) || times.count != wanted) {
    return fail(ErrorKind::kInternal, "the process that times fork and exec has ended");
  }
  const auto used = std::span(times.ns).first(wanted);
  if (std::find(used.begin(), used.end(), 0u) != used.end()) {
    return fail(ErrorKind::kUnsupported,
                "timing fork+exec+wait, the baseline of a cold start: /bin/true could not be run "
                "or failed");
  }
  return std::vector<double>(used.begin(), used.end());
}

}  // namespace sublet::bench
