#include "fork_exec.hpp"

#include <base/clock.hpp>

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

struct Program {
  std::string path;
  std::vector<std::string> arguments;
};

std::uint64_t time_one(Program& program) {
  const base::Ticks start = base::ticks();
  const pid_t pid = ::fork();
  if (pid == 0) {
    std::vector<char*> argv{program.path.data()};
    for (std::string& argument : program.arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0) return 0;
  return std::max<std::uint64_t>(base::TickRate::get().to_ns(base::ticks() - start), 1);
}

void serve_starts(base::HelperLink& benchmark, Program program) {
  for (;;) {
    const auto count = benchmark.hear<std::uint32_t>(-1ms);
    if (!count) return;  // the benchmark is over
    Times times;
    times.count = std::min(*count, kMaxForkExecs);
    for (std::uint32_t i = 0; i < times.count; ++i) times.ns[i] = time_one(program);
    if (!benchmark.tell(times)) return;
  }
}

}  // namespace

Result<ForkExecTimer> ForkExecTimer::start() {
  return start("/bin/true", {});
}

Result<ForkExecTimer> ForkExecTimer::start(const std::string& program,
                                           const std::vector<std::string>& arguments) {
  auto helper = base::HelperProcess::start([&](base::HelperLink& link) {
    serve_starts(link, Program{program, arguments});
  });
  if (!helper) return tl::unexpected<Error>(std::move(helper.error()));
  ForkExecTimer timer;
  timer.helper_ = std::move(*helper);
  return timer;
}

Result<std::vector<double>> ForkExecTimer::run(unsigned count) {
  const std::uint32_t wanted = std::min(count, kMaxForkExecs);
  if (auto told = helper_.link().tell(wanted); !told) {
    return tl::unexpected<Error>(std::move(told.error()));
  }
  const auto times = helper_.link().hear<Times>(kBatchLimit);
  if (!times) return tl::unexpected<Error>(times.error());
  const auto used = std::span(times->ns).first(wanted);
  if (std::find(used.begin(), used.end(), 0u) != used.end()) {
    return fail(ErrorKind::kUnsupported,
                "timing fork+exec+wait, the baseline of a cold start: the program could not be run "
                "or failed");
  }
  return std::vector<double>(used.begin(), used.end());
}

}  // namespace sublet::bench
