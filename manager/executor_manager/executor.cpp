#include <base/log.hpp>
#include <executor_manager/executor.hpp>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace sublet::manager {
namespace {

constexpr int kBacklog = 128;

}  // namespace

Executor::Executor(kj::UnixEventPort& port, Zygote& zygote, base::SharedMemory accounting,
                   std::uint32_t workers)
    : port_(port),
      zygote_(zygote),
      accounting_(std::move(accounting)),
      workers_(workers),
      ready_(nullptr),
      ended_(nullptr),
      tasks_(*this) {
  auto ready = kj::newPromiseAndFulfiller<void>();
  ready_fulfiller_ = kj::mv(ready.fulfiller);
  ready_ = ready.promise.fork();
  auto ended = kj::newPromiseAndFulfiller<std::string>();
  ended_fulfiller_ = kj::mv(ended.fulfiller);
  ended_ = ended.promise.fork();
}

Executor::~Executor() {
  if (!over_) kill();
}

Result<kj::Own<Executor>> Executor::start(kj::UnixEventPort& port, Zygote& zygote,
                                          const MemoryCgroupParent* cgroups, ExecutorOrder order) {
  auto data = base::listen_abstract(order.data_socket, kBacklog);
  if (!data) return tl::unexpected<Error>(data.error());
  auto control = base::make_socketpair();
  if (!control) return tl::unexpected<Error>(control.error());
  auto accounting = base::SharedMemory::create("sublet-accounting",
                                               order.spawn.workers * sizeof(wire::WorkerCounters),
                                               base::SharedMemory::Pages::kSmall);
  if (!accounting) return tl::unexpected<Error>(accounting.error());
  const int fds[] = {control->second.get(), data->get(), accounting->fd()};

  auto executor =
      kj::refcounted<Executor>(port, zygote, std::move(*accounting), order.spawn.workers);
  executor->control_ = std::make_unique<MessageSocket>(port, std::move(control->first));
  auto spawning = zygote.spawn(order.spawn, fds);
  if (cgroups != nullptr) {
    // While the zygote forks. Without one the executor still has its RLIMIT_DATA.
    if (auto cgroup = MemoryCgroup::create(*cgroups, order.cgroup_bytes)) {
      executor->cgroup_.emplace(std::move(*cgroup));
    } else {
      base::log().warn("{}", cgroup.error().what());
    }
  }
  // Our copies of its descriptors close here: then the data socket lives exactly as long as the
  // executor, and a client of a dead one is refused instead of waiting.
  Executor& self = *executor;
  executor->tasks_.add(spawning.then([&self](Result<Zygote::Child> child) {
    if (!child) {
      self.end(child.error().what());
      return;
    }
    self.pid_ = child->pid;
    self.pidfd_ = std::move(child->pidfd);
    if (self.cgroup_) {
      if (auto added = self.cgroup_->add(self.pid_); !added) {
        base::log().warn("executor {}: {}", self.pid_, added.error().what());
      }
    }
    if (self.over_) self.kill();  // stopped before it was there
    self.tasks_.add(
        self.zygote_.ended(self.pid_).then([&self](std::string fate) { self.end("it " + fate); }));
  }));
  executor->tasks_.add(executor->control_->serve(
      [&self](wire::ReceivedMessage message) { self.receive(std::move(message)); }));
  return kj::mv(executor);
}

kj::Promise<Result<void>> Executor::open(const wire::Open& open, int library) {
  if (over_) return Result<void>(fail(ErrorKind::kDisconnected, "the executor has ended"));
  if (auto sent = control_->send(wire::MessageType::kOpen, open, {&library, 1}); !sent) {
    return Result<void>(tl::unexpected<Error>(sent.error()));
  }
  auto paf = kj::newPromiseAndFulfiller<Result<void>>();
  opens_.push_back({open.index, kj::mv(paf.fulfiller)});
  return kj::mv(paf.promise);
}

void Executor::receive(wire::ReceivedMessage message) {
  // From a process that runs foreign code: only what fits is believed.
  if (message.type == wire::MessageType::kReady) {
    ready_fulfiller_->fulfill();
  } else if (message.type == wire::MessageType::kOpened) {
    const auto opened = message.as<wire::Opened>();
    if (!opened || opens_.empty() || opens_.front().index != opened->index) return;
    auto pending = kj::mv(opens_.front());
    opens_.pop_front();
    if (opened->ok != 0) {
      pending.fulfiller->fulfill(Result<void>());
    } else {
      pending.fulfiller->fulfill(
          fail(ErrorKind::kInvalid, std::string(wire::text_of(opened->text))));
    }
  } else if (message.type == wire::MessageType::kDying) {
    if (const auto dying = message.as<wire::Dying>()) {
      dying_words_ = std::string(wire::text_of(dying->text));
    }
  }
}

void Executor::end(std::string fate) {
  if (pid_ >= 0 && cgroup_ && cgroup_->oom_kills() > 0) {
    fate = "it was killed because the lease's memory limit was reached";
  } else if (!dying_words_.empty()) {
    fate = dying_words_;
  }
  over_ = true;
  pid_ = -1;
  cgroup_.reset();
  ready_fulfiller_->fulfill();
  for (auto& pending : opens_) {
    pending.fulfiller->fulfill(
        fail(ErrorKind::kInvalid, "the executor ended while it loaded the library: " + fate));
  }
  opens_.clear();
  ended_fulfiller_->fulfill(std::string(fate));
}

void Executor::stop(kj::Timer& timer) {
  if (over_) return;
  if (auto asked = control_->send(wire::MessageType::kStop); !asked) kill();
  constexpr auto kPatience = wire::kExecutorStop;
  tasks_.add(timer.afterDelay(std::chrono::milliseconds(kPatience).count() * kj::MILLISECONDS)
                 .then([this] {
                   if (!over_) kill();
                 }));
}

void Executor::kill() noexcept {
  // Through the pidfd: a number might belong to somebody else by now.
  if (pidfd_.valid()) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

Usage Executor::usage() const {
  Usage sum;
  const double ns_per_tick = 1.0 / zygote_.ticks_per_ns();
  for (std::uint32_t i = 0; i < workers_; ++i) {
    wire::WorkerCounters counters;
    std::memcpy(&counters, accounting_.data() + i * sizeof(counters), sizeof(counters));
    sum.invocations += counters.invocations;
    sum.compute_ns +=
        static_cast<std::uint64_t>(static_cast<double>(counters.compute_ticks) * ns_per_tick);
    sum.hot_poll_ns +=
        static_cast<std::uint64_t>(static_cast<double>(counters.hot_poll_ticks) * ns_per_tick);
    sum.bytes_in += counters.bytes_in;
    sum.bytes_out += counters.bytes_out;
  }
  return sum;
}

void Executor::taskFailed(kj::Exception&& exception) {
  base::log().error("serving executor {}: {}", pid_, exception.getDescription().cStr());
}

}  // namespace sublet::manager
