#include <base/account.hpp>
#include <base/log.hpp>
#include <base/memory_pressure.hpp>
#include <base/printable_text.hpp>
#include <common/async.hpp>
#include <executor_manager/forked_executor.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

namespace sublet::manager {
namespace {

constexpr int kBacklog = 128;

/// Making a cgroup takes a core for 0.2 ms, which the first call of a cold start needs more. In
/// this time a function can touch some 50 MiB of memory that RLIMIT_DATA does not count.
constexpr kj::Duration kLimitAfter = 20 * kj::MILLISECONDS;

/// Between two looks at an executor's memory where there are no cgroups: a function can write some
/// 100 MiB meanwhile.
constexpr kj::Duration kMemoryLook = 100 * kj::MILLISECONDS;

constexpr const char* kOutOfMemory = "it was killed because the lease's memory limit was reached";

/// Its process lives on without the socket to its manager.
constexpr const char* kHungUp =
    "a function has executed another program in its place, or closed its descriptors";

/// What a process has in memory, shared memory included; 0 when it has gone.
std::uint64_t resident_bytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  if (!(file >> all >> resident)) return 0;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// A process that is stopped at so many looks in a row, while its manager runs, goes on: a function
/// has stopped it, or somebody has forgotten it. A job that is suspended has its manager stopped
/// too.
constexpr int kStoppedLooks = 3;
constexpr kj::Duration kStoppedLook = 10 * kj::SECONDS;

/// By SIGSTOP and the like; not by a debugger.
bool is_stopped(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(") ");
  return name_end != std::string::npos && line.substr(name_end + 2, 1) == "T";
}

kj::Promise<void> continue_when_stopped(kj::Timer& timer, pid_t pid, int pidfd, int seen = 0) {
  return timer.afterDelay(kStoppedLook).then([&timer, pid, pidfd, seen]() -> kj::Promise<void> {
    pollfd gone{pidfd, POLLIN, 0};
    if (::poll(&gone, 1, 0) != 0) return kj::READY_NOW;
    const bool stopped = is_stopped(pid);
    if (!stopped || seen + 1 < kStoppedLooks) {
      return continue_when_stopped(timer, pid, pidfd, stopped ? seen + 1 : 0);
    }
    base::log().warn("executor {} has been stopped (SIGSTOP) for some time; continuing it", pid);
    ::syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, nullptr, 0);
    return continue_when_stopped(timer, pid, pidfd);
  });
}

/// From the end of a process to its zygote's word on how it ended.
constexpr std::chrono::seconds kToldWithin{1};

/// A process without a pidfd whose zygote has ended is looked for so long, so often.
constexpr kj::Duration kGoneWithin = 2 * kj::SECONDS;
constexpr kj::Duration kGoneLook = 5 * kj::MILLISECONDS;

}  // namespace

ForkedExecutors::ForkedExecutors(kj::UnixEventPort& port, kj::Timer& timer, ZygoteProcess zygote,
                                 std::unique_ptr<MemoryLimiter> limiter,
                                 std::unique_ptr<ContainerRuntime> containers)
    : port_(port), timer_(timer), limiter_(std::move(limiter)), zygote_(port, std::move(zygote)) {
  if (!containers) return;
  ContainerPool::Node node{[runtime = std::move(*containers)](const ContainerPlace& place) {
                             return runtime.command(place);
                           },
                           base::memory_is_short, zygote_.ticks_per_ns()};
  containers_ = std::make_unique<ContainerPool>(port, timer, std::move(node));
  zygote_.before_restart([this] { containers_->end_all(); });
}

void ForkedExecutors::allow_spares(std::uint32_t most) {
  if (containers_) {
    containers_->limit({.most_idle = most, .most_spares = most});
  } else {
    zygote_.allow_spares(most);
  }
}

void ForkedExecutors::on_spares(std::function<void(std::uint32_t)> told) {
  if (containers_) {
    containers_->on_spares(std::move(told));
  } else {
    zygote_.on_spares(std::move(told));
  }
}

Result<kj::Own<Executor>> ForkedExecutors::start(ExecutorOrder&& order) {
  return ForkedExecutor::start(*this, std::move(order));
}

/// Its user is the container's, which knows no other.
Result<kj::Own<ContainerPool::Use>> ForkedExecutors::use_container(ExecutorOrder& order) {
  constexpr std::uint32_t kUnchanged = ~std::uint32_t{0};
  if (!containers_) {
    return fail(ErrorKind::kInternal, "executors of this node run in no containers");
  }
  ContainerPlace place{order.image, order.spawn.uid, order.spawn.gid};
  if (place.gid == wire::kGroupOfAccount || (place.uid != kUnchanged && place.gid == kUnchanged)) {
    const auto group = base::group_of_account(place.uid);
    if (!group) return tl::unexpected<Error>(group.error());
    place.gid = *group;
  }
  order.spawn.uid = order.spawn.gid = kUnchanged;
  return containers_->use(place);
}

ForkedExecutor::ForkedExecutor(ForkedExecutors& services, kj::Own<ContainerPool::Use> container,
                               base::SharedMemory accounting, ExecutorOrder&& order)
    : services_(services),
      container_(kj::mv(container)),
      zygote_(container_.get() == nullptr ? services.zygote_ : container_->zygote()),
      order_(std::move(order)),
      accounting_(std::move(accounting)),
      ready_(nullptr),
      ended_(nullptr),
      tasks_(*this) {
  auto ready = kj::newPromiseAndFulfiller<void>();
  ready_fulfiller_ = kj::mv(ready.fulfiller);
  ready_ = ready.promise.fork();
  auto ended = kj::newPromiseAndFulfiller<ExecutorFate>();
  ended_fulfiller_ = kj::mv(ended.fulfiller);
  ended_ = ended.promise.fork();
}

ForkedExecutor::~ForkedExecutor() {
  drop();
}

void ForkedExecutor::drop() noexcept {
  if (!over_) kill();
  over_ = true;
  limit_.reset();
}

Result<kj::Own<Executor>> ForkedExecutor::start(ForkedExecutors& services, ExecutorOrder&& order) {
  auto data = base::listen_abstract(order.data_socket, kBacklog);
  if (!data) return tl::unexpected<Error>(data.error());
  auto control = base::make_socketpair();
  if (!control) return tl::unexpected<Error>(control.error());
  auto accounting = base::SharedMemory::create("sublet-accounting",
                                               order.spawn.workers * sizeof(wire::WorkerCounters),
                                               base::SharedMemory::Pages::kSmall);
  if (!accounting) return tl::unexpected<Error>(accounting.error());
  const int fds[] = {control->second.get(), data->get(), accounting->fd()};

  kj::Own<ContainerPool::Use> container;
  if (!order.image.empty()) {
    auto used = services.use_container(order);
    if (!used) return tl::unexpected<Error>(std::move(used.error()));
    container = kj::mv(*used);
  }
  auto executor = kj::refcounted<ForkedExecutor>(services, kj::mv(container),
                                                 std::move(*accounting), std::move(order));
  ForkedExecutor& self = *executor;
  self.control_ = std::make_unique<MessageSocket>(services.port_, std::move(control->first));
  auto spawning = self.zygote_.spawn(self.order_.spawn, fds);
  // Our copies of its descriptors close here: then the data socket lives exactly as long as the
  // executor, and a client of a dead one is refused instead of waiting.
  self.tasks_.add(
      spawning.then([&self](Result<Zygote::Child> child) { self.spawned(std::move(child)); }));
  self.tasks_.add(
      self.control_->serve([&self](const wire::ReceivedMessage& message) { self.receive(message); })
          .then([&self] { return wire::after_running(self.services_.timer_, kToldWithin); })
          .then([&self] { self.abandon(kHungUp); }));
  // A container has a deadline of its own.
  kj::Promise<void> forked = kj::READY_NOW;
  if (self.container_.get() != nullptr) forked = self.zygote_.ready();
  self.tasks_.add(forked
                      .then([&self] {
                        return wire::after_running(self.services_.timer_, wire::kExecutorStart);
                      })
                      .then([&self] {
                        if (!self.ready_to_serve_) self.abandon("it did not become ready in time");
                      }));
  return kj::mv(executor);
}

void ForkedExecutor::spawned(Result<Zygote::Child> child) {
  if (over_) return;
  if (!child) {
    end(child.error().what());
    return;
  }
  pid_ = child->pid_here;
  zygotes_pid_ = child->pid;
  pidfd_ = std::move(child->pidfd);
  if (pidfd_.valid()) {
    pidfd_observer_ = kj::heap<kj::UnixEventPort::FdObserver>(
        services_.port_, pidfd_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ);
    tasks_.add(continue_when_stopped(services_.timer_, pid_, pidfd_.get()));
  } else if (services_.limiter_ != nullptr) {
    base::log().info("executor {} has no memory cgroup: pidfd_open is refused here", pid_);
  }
  if ((services_.limiter_ == nullptr || !pidfd_.valid()) && order_.cgroup_bytes != 0) {
    tasks_.add(watch_memory());
  }
  if (pidfd_.valid() && services_.limiter_ != nullptr && order_.cgroup_bytes != 0) {
    tasks_.add(services_.timer_.afterDelay(kLimitAfter).then([this] {
      if (over_) return;
      limit_ = services_.limiter_->limit(pid_, pidfd_.get(), order_.cgroup_bytes);
    }));
  }
  if (killed_) kill();  // given up before it was there
  tasks_.add(watch());
}

/// Ends with the process. How it ended is the zygote's to say; should it say nothing, or die
/// itself, the pidfd tells that the process is gone.
kj::Promise<void> ForkedExecutor::watch() {
  if (!pidfd_.valid()) {
    return zygote_.ended(zygotes_pid_).then([this](const std::string& fate) {
      kill();
      return until_no_process(services_.timer_.now() + kGoneWithin).then([this, fate] {
        end("it " + fate);
      });
    });
  }
  auto gone = until_gone().fork();
  auto told = zygote_.ended(zygotes_pid_);
  auto untold = gone.addBranch()
                    .then([this] { return wire::after_running(services_.timer_, kToldWithin); })
                    .then([] { return std::string("ended, and its zygote did not say how"); });
  return told.exclusiveJoin(kj::mv(untold))
      .then([this, gone = kj::mv(gone)](std::string fate) mutable {
        kill();  // its zygote may have died before it
        return gone.addBranch().then([this, fate = std::move(fate)] { end("it " + fate); });
      });
}

kj::Promise<void> ForkedExecutor::until_gone() {
  pollfd entry{pidfd_.get(), POLLIN, 0};
  if (::poll(&entry, 1, 0) > 0) return kj::READY_NOW;
  KJ_IF_MAYBE (observer, pidfd_observer_) {
    return (*observer)->whenBecomesReadable();
  }
  return kj::READY_NOW;
}

/// Without a pidfd: the zygote has reaped it, or has died and the kernel is killing it.
kj::Promise<void> ForkedExecutor::until_no_process(kj::TimePoint end) {
  kj::Timer& timer = services_.timer_;
  const bool gone = ::kill(pid_, 0) != 0 && errno == ESRCH;
  if (gone || timer.now() > end) return kj::READY_NOW;
  return timer.afterDelay(kGoneLook).then([this, end] { return until_no_process(end); });
}

/// RLIMIT_DATA does not count shared memory, and is the only limit where no cgroup can be made.
kj::Promise<void> ForkedExecutor::watch_memory() {
  return services_.timer_.afterDelay(kMemoryLook).then([this]() -> kj::Promise<void> {
    if (over_) return kj::READY_NOW;
    if (resident_bytes(pid_) > order_.cgroup_bytes) {
      abandon(kOutOfMemory);
      return kj::READY_NOW;
    }
    return watch_memory();
  });
}

Result<void> ForkedExecutor::become(const Application& application) {
  if (over_) return fail(ErrorKind::kDisconnected, "the executor has ended");
  const int fds[] = {application.program->get(), application.surroundings->get()};
  auto sent = control_->send(wire::MessageType::kBecome, application.order, fds);
  if (!sent) return sent;
  becoming_ = wire::text_of(application.order.name);
  tasks_.add(wire::after_running(services_.timer_, wire::kExecutorStart).then([this] {
    if (!becoming_.empty()) abandon("it did not become an executor in time");
  }));
  return {};
}

kj::Promise<Result<void>> ForkedExecutor::open(const wire::Open& open, int library) {
  if (over_) return Result<void>(fail(ErrorKind::kDisconnected, "the executor has ended"));
  if (auto sent = control_->send(wire::MessageType::kOpen, open, {&library, 1}); !sent) {
    return Result<void>(tl::unexpected<Error>(sent.error()));
  }
  auto paf = kj::newPromiseAndFulfiller<Result<void>>();
  opens_.push_back({open.index, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

kj::Promise<Result<std::string>> ForkedExecutor::listen(const std::string& transport,
                                                        const ListenPlaces& places) {
  if (over_) return Result<std::string>(fail(ErrorKind::kDisconnected, "the executor has ended"));
  wire::Listen order{};
  wire::set_text(order.transport, transport);
  wire::set_text(order.host, places.host);
  wire::set_text(order.device, places.device);
  wire::set_text(order.client_network, places.client_network);
  auto sent = control_->send(wire::MessageType::kListen, order);
  // Of one that has ended its end is told, with the reason.
  const int error = sent ? 0 : sent.error().system_errno();
  if (!sent && error != EPIPE && error != ECONNRESET) {
    return Result<std::string>(tl::unexpected<Error>(sent.error()));
  }
  auto paf = kj::newPromiseAndFulfiller<Result<std::string>>();
  listens_.push_back({transport, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

void ForkedExecutor::receive(const wire::ReceivedMessage& message) {
  // From a process that runs foreign code: only what fits is believed.
  if (message.type == wire::MessageType::kReady) {
    ready_to_serve_ = true;
    ready_fulfiller_->fulfill();
  } else if (message.type == wire::MessageType::kBecame) {
    becoming_.clear();
  } else if (message.type == wire::MessageType::kOpened) {
    const auto opened = message.as<wire::Opened>();
    if (!opened || opens_.empty() || opens_.front().index != opened->index) return;
    auto pending = kj::mv(opens_.front());
    opens_.pop_front();
    if (opened->ok != 0) {
      pending.fulfiller->fulfill(Result<void>());
    } else {
      pending.fulfiller->fulfill(
          fail(error_kind_from(opened->kind), base::printable(wire::text_of(opened->text))));
    }
  } else if (message.type == wire::MessageType::kListening) {
    const auto listening = message.as<wire::Listening>();
    if (!listening || listens_.empty() ||
        listens_.front().transport != wire::text_of(listening->transport)) {
      return;
    }
    auto pending = kj::mv(listens_.front());
    listens_.pop_front();
    std::string text = base::printable(wire::text_of(listening->text));
    if (listening->ok != 0) {
      pending.fulfiller->fulfill(std::move(text));
    } else {
      pending.fulfiller->fulfill(fail(ErrorKind::kUnsupported, text));
    }
  } else if (message.type == wire::MessageType::kDying) {
    if (const auto dying = message.as<wire::Dying>()) {
      dying_words_ = base::printable(wire::text_of(dying->text));
      dying_kind_ = error_kind_from(dying->kind);
    }
  }
}

void ForkedExecutor::end(std::string fate) {
  if (over_) return;
  if (limit_ && limit_->was_exceeded()) {
    fate = kOutOfMemory;
  } else if (!dying_words_.empty()) {
    fate = dying_words_;
  }
  const bool is_programs_fault = !becoming_.empty() && dying_kind_ > ErrorKind::kInternal;
  if (!becoming_.empty()) fate = "running the application '" + becoming_ + "' failed: " + fate;
  over_ = true;
  pid_ = -1;
  limit_.reset();
  container_ = nullptr;
  ready_fulfiller_->fulfill();
  for (auto& pending : opens_) {
    pending.fulfiller->fulfill(fail(is_programs_fault ? dying_kind_ : ErrorKind::kInvalid,
                                    "the executor ended while it loaded the library: " + fate));
  }
  opens_.clear();
  for (auto& pending : listens_) {
    pending.fulfiller->fulfill(fail(ErrorKind::kDisconnected, "the executor ended: " + fate));
  }
  listens_.clear();
  ExecutorFate made = make_fate(std::move(fate));
  if (is_programs_fault) made.kind = dying_kind_;
  ended_fulfiller_->fulfill(std::move(made));
}

void ForkedExecutor::drain() {
  if (over_) return;
  if (auto asked = control_->send(wire::MessageType::kDrain); !asked) kill();
}

void ForkedExecutor::resume() {
  if (over_) return;
  if (auto asked = control_->send(wire::MessageType::kResume); !asked) kill();
}

void ForkedExecutor::stop() {
  if (over_) return;
  if (auto asked = control_->send(wire::MessageType::kStop); !asked) kill();
  tasks_.add(wire::after_running(services_.timer_, wire::kExecutorStop).then([this] { kill(); }));
}

void ForkedExecutor::abandon(const std::string& reason) {
  if (over_) return;
  if (dying_words_.empty()) dying_words_ = reason;
  kill();
  // Without a process there is nothing to wait for: one that the zygote still forks finds its
  // control socket closed and ends.
  if (pid_ < 0) end(reason);
}

void ForkedExecutor::kill() noexcept {
  killed_ = true;
  if (pid_ < 0) return;
  // Through the pidfd: a number might belong to somebody else by now. Where that is refused, by the
  // zygote, which alone reaps it.
  const bool done =
      pidfd_.valid() &&
      (::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0) == 0 || errno == ESRCH);
  if (!done) zygote_.kill(zygotes_pid_);
}

wire::WorkerCounters ForkedExecutor::counters(std::uint32_t worker) const {
  wire::WorkerCounters counters;
  std::memcpy(&counters, accounting_.data() + worker * sizeof(counters), sizeof(counters));
  return counters;
}

ExecutorFate ForkedExecutor::make_fate(std::string text) const {
  // Foreign code can write here, too: it harms its own client alone.
  ExecutorFate fate;
  fate.text = std::move(text);
  bool drained = true;
  for (std::uint32_t i = 0; i < order_.spawn.workers; ++i) {
    const wire::WorkerCounters said = counters(i);
    drained &= said.drained == 1;
    fate.last_started.push_back(said.last_started);
    if (said.stopped == wire::WorkerCounters::kStoppedInCall) {
      ++fate.in_call;
    } else if (said.stopped != wire::WorkerCounters::kStoppedIdle) {
      ++fate.unknown;
    }
  }
  if (!drained) fate.last_started.clear();
  if (drained) fate.unknown = 0;
  return fate;
}

std::chrono::nanoseconds ForkedExecutor::age() const {
  return std::chrono::steady_clock::now() - started_;
}

Usage ForkedExecutor::usage() const {
  // The executor runs foreign code, which can write anything into the counters. Time at least is
  // limited by what has passed.
  const double ns_per_tick = 1.0 / services_.zygote_.ticks_per_ns();
  const auto most = static_cast<double>(age().count());
  Usage sum;
  for (std::uint32_t i = 0; i < order_.spawn.workers; ++i) {
    const wire::WorkerCounters said = counters(i);
    const double compute = std::min(static_cast<double>(said.compute_ticks) * ns_per_tick, most);
    const double hot =
        std::min(static_cast<double>(said.hot_poll_ticks) * ns_per_tick, most - compute);
    sum.invocations += said.invocations;
    sum.compute_ns += static_cast<std::uint64_t>(compute);
    sum.hot_poll_ns += static_cast<std::uint64_t>(hot);
    sum.bytes_in += said.bytes_in;
    sum.bytes_out += said.bytes_out;
  }
  return sum;
}

wire::CallTimes ForkedExecutor::call_times() const {
  // As there: no more calls of a bucket than fit into the time that has passed.
  const auto age_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(0, age().count()));
  wire::CallTimes sum;
  for (std::uint32_t i = 0; i < order_.spawn.workers; ++i) {
    const wire::WorkerCounters said = counters(i);
    for (std::size_t bucket = 0; bucket < sum.calls.size(); ++bucket) {
      const auto shortest = std::max<std::uint64_t>(1, wire::call_time_floor(bucket));
      wire::CallTimes::add(sum.calls[bucket], std::min(said.call_times[bucket], age_ns / shortest));
    }
  }
  sum.total_ns = usage().compute_ns;
  return sum;
}

void ForkedExecutor::taskFailed(kj::Exception&& exception) {
  base::log().error("serving executor {}: {}", pid_, text_of(exception));
}

}  // namespace sublet::manager
