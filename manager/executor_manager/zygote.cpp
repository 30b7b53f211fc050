#include <base/children.hpp>
#include <base/log.hpp>
#include <base/system_text.hpp>
#include <executor_manager/zygote.hpp>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>

namespace sublet::manager {
namespace {

/// Ends of children that are kept for who asks later; older ones are forgotten.
constexpr std::size_t kMaxEnded = 1024;

/// For the end of executors whose zygote has died, and of what their functions have started.
constexpr auto kOrphansEnd = std::chrono::seconds(2);

/// For the end of a container, from the end of all its processes on: Podman unmounts and forgets
/// it.
constexpr auto kContainerEnd = std::chrono::seconds(10);

/// For the end of a zygote: after its own last wait for its executors.
constexpr auto kZygoteEnd = std::chrono::seconds(5);

void pause_a_millisecond() {
  const timespec pause{0, 1'000'000};
  ::nanosleep(&pause, nullptr);
}

std::string describe(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int number = WTERMSIG(wait_status);
    const char* name = ::sigabbrev_np(number);
    return "was killed by signal " + std::to_string(number) +
           (name == nullptr ? "" : std::string(" (SIG") + name + ")");
  }
  return "exited with status " + std::to_string(WEXITSTATUS(wait_status));
}

/// The number that a process has here, whatever it has in its container; -1 when it has gone.
pid_t number_here(int pidfd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(pidfd));
  std::string word;
  while (file >> word) {
    pid_t pid = -1;
    if (word == "Pid:" && file >> pid) return pid;
  }
  return -1;
}

}  // namespace

Zygote::Zygote(kj::UnixEventPort& port, ZygoteProcess process)
    : port_(port),
      process_(std::move(process)),
      others_(base::children()),
      ready_(nullptr),
      tasks_(*this) {
  auto ready = kj::newPromiseAndFulfiller<void>();
  ready_fulfiller_ = kj::mv(ready.fulfiller);
  ready_ = ready.promise.fork();
  // What a dead zygote leaves comes to us, not to the system, where it would live on.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  serve();
}

Zygote::~Zygote() {
  if (!process_.in_container) {
    end_process();
    return;
  }
  end_container("its manager goes");
  wait_until_gone();
}

void Zygote::wait_until_gone() {
  const auto deadline = std::chrono::steady_clock::now() + kContainerEnd;
  while (!gone()) {
    if (std::chrono::steady_clock::now() > deadline) {
      base::log().error("podman (pid {}) does not end a container; see `podman ps --all`",
                        process_.pid);
      ::kill(process_.pid, SIGKILL);
      return;
    }
    pause_a_millisecond();
  }
}

void Zygote::end_container(const std::string& reason) {
  over_ = true;
  // One that is still starting finds its socket closed and ends. The first process of a container
  // takes all others with it.
  if (init_.valid()) ::syscall(SYS_pidfd_send_signal, init_.get(), SIGKILL, nullptr, 0);
  init_.reset();
  socket_->shut();
  ready_fulfiller_->fulfill();
  fail_all(reason);
}

bool Zygote::gone() {
  if (!reaped_) reaped_ = ::waitpid(process_.pid, nullptr, WNOHANG) != 0;
  return reaped_;
}

void Zygote::container_ended() {
  if (over_) return;
  if (init_.valid()) {
    end_container("ended with its container");
    return;
  }
  const std::string podmans = output_ == nullptr ? std::string() : output_->last_line();
  end_container("has no container: it did not start: " +
                (last_word_.empty() ? podmans : last_word_));
}

/// Its executors die with it (PR_SET_PDEATHSIG). Where a filter refuses kill(2) it ends because its
/// socket is closed.
void Zygote::end_process() {
  socket_->shut();
  if (::kill(process_.pid, SIGKILL) != 0) {
    base::log().warn("ending the zygote: {}; waiting until it ends by itself",
                     base::call_text("kill", errno));
  }
  const auto deadline = std::chrono::steady_clock::now() + kZygoteEnd;
  while (::waitpid(process_.pid, nullptr, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      base::log().error("the zygote (pid {}) does not end; end it by hand", process_.pid);
      return;
    }
    pause_a_millisecond();
  }
}

void Zygote::serve() {
  if (process_.output.valid()) {
    output_ = std::make_unique<ExecutorOutput>(port_, std::move(process_.output));
  }
  socket_ = std::make_unique<MessageSocket>(port_, std::move(process_.socket));
  tasks_.add(socket_->serve([this](wire::ReceivedMessage message) { receive(std::move(message)); })
                 .then([this] { process_.in_container ? container_ended() : restart(); }));
}

void Zygote::restart() {
  end_process();
  base::log().error("the zygote (pid {}) died; starting another", process_.pid);
  before_restart_();
  end_orphans();
  auto process = start_zygote(process_.whom, process_.isolation, process_.descriptors);
  if (!process) {
    fail_all(process.error().what());
    base::log().critical("no executor can be started any more: {}", process.error().what());
    return;
  }
  process_ = std::move(*process);
  serve();
  allow_spares(most_spares_);
  fail_all("died with its zygote");
}

/// Executors die with their zygote; when they have, their own children become ours in turn.
void Zygote::end_orphans() const {
  const auto deadline = std::chrono::steady_clock::now() + kOrphansEnd;
  for (;;) {
    bool any = false;
    for (const pid_t child : base::children()) {
      if (std::find(others_.begin(), others_.end(), child) != others_.end()) continue;
      any = true;
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, WNOHANG);
    }
    if (!any) return;
    if (std::chrono::steady_clock::now() > deadline) break;
    pause_a_millisecond();
  }
  base::log().error("some processes of dead executors do not end although they were killed");
}

void Zygote::fail_all(const std::string& reason) {
  auto spawning = std::move(spawning_);
  spawning_.clear();
  for (auto& [request, fulfiller] : spawning) {
    fulfiller->fulfill(fail(ErrorKind::kInternal, "the executor " + reason));
  }
  auto waiting = std::move(waiting_);
  waiting_.clear();
  for (auto& [pid, fulfiller] : waiting) fulfiller->fulfill(std::string(reason));
}

kj::Promise<Result<Zygote::Child>> Zygote::spawn(wire::Spawn order, std::span<const int> fds) {
  order.request = next_request_++;
  if (auto sent = socket_->send(wire::MessageType::kSpawn, order, fds); !sent) {
    return Result<Child>(
        fail(sent.error().kind(),
             std::string("asking the zygote for an executor: ") + sent.error().what()));
  }
  auto paf = kj::newPromiseAndFulfiller<Result<Child>>();
  spawning_[order.request] = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

void Zygote::allow_spares(std::uint32_t most) {
  most_spares_ = most;
  // Fails only when the zygote has died, and the next one is told.
  (void)socket_->send(wire::MessageType::kSpares, wire::Spares{most});
}

void Zygote::kill(pid_t pid) {
  // Fails only when the zygote has died, and its executors with it.
  (void)socket_->send(wire::MessageType::kKill, wire::Kill{pid});
}

kj::Promise<std::string> Zygote::ended(pid_t pid) {
  if (auto known = ended_.find(pid); known != ended_.end()) {
    std::string text = std::move(known->second);
    ended_.erase(known);
    return text;
  }
  auto paf = kj::newPromiseAndFulfiller<std::string>();
  waiting_[pid] = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

void Zygote::receive(wire::ReceivedMessage message) {
  if (message.type == wire::MessageType::kZygoteReady) {
    if (!message.fds.empty()) init_ = std::move(message.fds.front());
    ready_fulfiller_->fulfill();
  } else if (message.type == wire::MessageType::kDying) {
    if (const auto dying = message.as<wire::Dying>()) last_word_ = wire::text_of(dying->text);
  } else if (message.type == wire::MessageType::kSpawned) {
    const auto spawned = message.as<wire::Spawned>();
    if (!spawned) return;
    const auto entry = spawning_.find(spawned->request);
    if (entry == spawning_.end()) return;
    auto fulfiller = kj::mv(entry->second);
    spawning_.erase(entry);
    if (spawned->error != 0) {
      fulfiller->fulfill(fail(ErrorKind::kInternal,
                              "forking an executor: " + base::start_text(spawned->error),
                              spawned->error));
      return;
    }
    Child child{spawned->pid, spawned->pid, {}};
    if (!message.fds.empty()) child.pidfd = std::move(message.fds.front());
    if (process_.in_container) {
      if (!child.pidfd.valid()) {
        kill(child.pid);
        fulfiller->fulfill(fail(ErrorKind::kUnsupported,
                                "the container's filter of system calls refuses pidfd_open"));
        return;
      }
      child.pid_here = number_here(child.pidfd.get());
    }
    fulfiller->fulfill(std::move(child));
  } else if (message.type == wire::MessageType::kSpares) {
    if (const auto spares = message.as<wire::Spares>()) spares_told_(spares_ = spares->count);
  } else if (message.type == wire::MessageType::kExited) {
    const auto exited = message.as<wire::Exited>();
    if (!exited) return;
    const std::string text = describe(exited->wait_status);
    const auto entry = waiting_.find(exited->pid);
    if (entry != waiting_.end()) {
      auto fulfiller = kj::mv(entry->second);
      waiting_.erase(entry);
      fulfiller->fulfill(std::string(text));
    } else {
      if (ended_.size() >= kMaxEnded) ended_.erase(ended_.begin());
      ended_[exited->pid] = text;
    }
  }
}

void Zygote::taskFailed(kj::Exception&& exception) {
  base::log().error("serving the zygote: {}", exception.getDescription().cStr());
}

}  // namespace sublet::manager
