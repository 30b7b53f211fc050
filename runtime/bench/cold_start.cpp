#include "cold_start.hpp"

#include "leased_worker.hpp"
#include <base/clock.hpp>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>

namespace sublet::bench {
namespace {

using namespace std::chrono_literals;

/// The cores of a lease that was released are free again after a few milliseconds; a container that
/// is kept ready takes some seconds on a busy node.
constexpr auto kFreeLimit = 20s;
constexpr auto kFreeCheck = 200us;

/// Waits until the executor of the last cold start is gone, its core can be leased again, and all
/// is there that this start begins with.
Result<void> wait_for_free_core(Session& session, Start start) {
  const base::Deadline deadline = base::Deadline::after(kFreeLimit);
  for (;;) {
    auto nodes = session.nodes();
    if (!nodes) return tl::unexpected<Error>(std::move(nodes.error()));
    for (const NodeInfo& node : *nodes) {
      const bool ready = start == Start::kBare || node.warm_executors > 0;
      if (node.state == "up" && node.free_cores > 0 && ready) return {};
    }
    if (deadline.passed()) {
      return fail(ErrorKind::kOverloaded, "no core became free for the next cold start within " +
                                              std::to_string(kFreeLimit.count()) +
                                              " s; let nobody else use this resource manager");
    }
    std::this_thread::sleep_for(kFreeCheck);
  }
}

/// One cold start, in ns.
Result<double> start_once(Session& session, Start start_with, const std::string& library,
                          PrivatePayload& payload) {
  if (auto free = wait_for_free_core(session, start_with); !free) {
    return tl::unexpected<Error>(std::move(free.error()));
  }
  const base::Ticks start = base::ticks();
  auto lease = session.lease({.cores = 1});
  if (!lease) return tl::unexpected<Error>(std::move(lease.error()));
  auto echo = lease->function(library, "echo");
  if (!echo) return tl::unexpected<Error>(std::move(echo.error()));
  const Reply reply = echo->call(payload.in(), payload.size(), payload.out(), payload.size());
  const base::Ticks end = base::ticks();
  if (!reply.ok()) {
    return fail(ErrorKind::kDisconnected, std::string("the first call of a cold start: ") +
                                              sublet::to_string(reply.status) + ": " +
                                              echo->last_error());
  }
  if (!payload.all_came_back()) {
    return fail(ErrorKind::kInternal, "'echo' sent other bytes back than it was given");
  }
  lease->release();
  return static_cast<double>(base::TickRate::get().to_ns(end - start));
}

/// Sets a variable of this process's environment, and puts back what was there.
class Variable {
 public:
  /// An empty value leaves it as it is.
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    if (!value.empty()) ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

}  // namespace

const char* to_string(Start start) {
  return start == Start::kWarm ? "warm" : "bare";
}

Result<Session> open_session_for(const PrivateNode& node, const CommonOptions& options) {
  const Variable warm("SUBLET_PRIVATE_MANAGER_WARM_EXECUTORS",
                      node.start == Start::kWarm ? "1" : "0");
  const Variable isolation("SUBLET_PRIVATE_MANAGER_ISOLATION", node.isolation);
  const Variable image("SUBLET_PRIVATE_MANAGER_IMAGE", node.image);
  return open_session(options);
}

Result<std::vector<double>> start_batch(Session& session, Start start_with,
                                        const std::string& library, PrivatePayload& payload,
                                        std::uint64_t count) {
  std::vector<double> samples;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto sample = start_once(session, start_with, library, payload);
    if (!sample) return tl::unexpected<Error>(std::move(sample.error()));
    samples.push_back(*sample);
  }
  // Another manager of the same core finds it free.
  if (auto free = wait_for_free_core(session, Start::kBare); !free) {
    return tl::unexpected<Error>(std::move(free.error()));
  }
  return samples;
}

}  // namespace sublet::bench
