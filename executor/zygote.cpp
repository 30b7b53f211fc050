#include <base/asymmetric_fence.hpp>
#include <base/children.hpp>
#include <base/clock.hpp>
#include <base/descriptors.hpp>
#include <base/system_text.hpp>
#include <executor/backtrace.hpp>
#include <executor/core_file.hpp>
#include <executor/executor_process.hpp>
#include <executor/fatal.hpp>
#include <executor/own_view.hpp>
#include <executor/pinning.hpp>
#include <executor/processors.hpp>
#include <executor/sandbox.hpp>
#include <executor/surroundings.hpp>
#include <executor/zygote.hpp>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

namespace sublet::executor {
namespace {

/// For the end of SIGKILLed executors; one that hangs in the kernel must not keep the zygote.
constexpr auto kLastReap = std::chrono::seconds(2);

tl::unexpected<Error> system_error(const std::string& attempted) {
  const int number = errno;
  return fail(ErrorKind::kInternal, attempted + ": " + base::system_text(number), number);
}

/// The zygote has no logger: its stderr is the manager's.
void complain(const std::string& text) {
  std::fprintf(stderr, "sublet-executor[%d]: %s\n", static_cast<int>(::getpid()), text.c_str());
}

Result<base::Fd> open_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return system_error("blocking SIGCHLD");
  base::Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return system_error("making a signalfd");
  return fd;
}

/// One set of cores per worker.
Result<std::vector<topology::Cpuset>> parse_cores(const wire::Spawn& order,
                                                  const topology::Topology& topology) {
  std::vector<topology::Cpuset> cores;
  std::string_view rest = wire::text_of(order.cpusets);
  while (!rest.empty() && cores.size() <= order.workers) {
    const std::size_t end = std::min(rest.find(';'), rest.size());
    auto set = topology::Cpuset::parse(rest.substr(0, end));
    if (!set) return tl::unexpected<Error>(set.error());
    if (set->empty() || !topology.machine().contains(*set)) {
      return fail(ErrorKind::kInvalid, "an order names the cores '" + set->to_list() +
                                           "'; there are " + topology.machine().to_list());
    }
    cores.push_back(std::move(*set));
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  if (cores.size() != order.workers) {
    return fail(ErrorKind::kInvalid, "the order names cores for another number of workers than " +
                                         std::to_string(order.workers));
  }
  return cores;
}

Result<std::vector<topology::Cpuset>> check_order(const wire::ReceivedMessage& message,
                                                  const wire::Spawn& order,
                                                  const topology::Topology& topology) {
  if (order.workers == 0 || order.workers > wire::kMaxWorkersPerExecutor ||
      !std::has_single_bit(order.slots) || order.slots > wire::kMaxSlots ||
      order.cores_per_worker == 0 || order.cores_per_worker > wire::kMaxCoresPerPart ||
      message.fds.size() != 3) {
    return fail(ErrorKind::kInvalid, "an order for " + std::to_string(order.workers) +
                                         " workers of " + std::to_string(order.cores_per_worker) +
                                         " cores with " + std::to_string(order.slots) +
                                         " slots and " + std::to_string(message.fds.size()) +
                                         " descriptors is not to be fulfilled");
  }
  return parse_cores(order, topology);
}

/// The most memory that an executor may come to register with an RDMA device: for each worker its
/// ring of requests, and its buffers for an input and an output as large as the arena.
std::uint64_t locked_bytes(const wire::Spawn& order) noexcept {
  constexpr std::uint64_t kPerSlot = 8192;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 46;
  const std::uint64_t arena = std::min(order.max_arena_bytes, kMost);
  return order.workers * (2 * arena + order.slots * kPerSlot + (std::uint64_t{1} << 20));
}

}  // namespace

Result<std::unique_ptr<Zygote>> Zygote::start(base::Fd manager, Isolation isolation) {
  const int socket = manager.get();
  auto zygote = prepare(manager, isolation);
  if (!zygote && manager.valid()) {
    wire::Dying why{};
    wire::set_text(why.text, zygote.error().what());
    (void)wire::send_message(socket, wire::MessageType::kDying, why);
  }
  return zygote;
}

Result<std::unique_ptr<Zygote>> Zygote::prepare(base::Fd& manager, Isolation isolation) {
  if (auto confined = confine_zygote(); !confined) return tl::unexpected<Error>(confined.error());
  ::prctl(PR_SET_NAME, "sublet-zygote", 0, 0, 0);
  // Processes that the functions of a dead executor have left become the zygote's, which ends them.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  install_fatal_handlers();
  note_loaded_libraries("sublet-executor");
  auto signals = open_signals();
  if (!signals) return tl::unexpected<Error>(signals.error());
  auto topology = topology::Topology::load();
  if (!topology) return tl::unexpected<Error>(topology.error());
  std::unique_ptr<Zygote> zygote(
      new Zygote(std::move(manager), std::move(*signals), std::move(*topology)));
  if (isolation != Isolation::kProcess) {
    if (auto isolated = zygote->isolate(isolation); !isolated) {
      manager = std::move(zygote->manager_);  // who is to be told
      return tl::unexpected<Error>(isolated.error());
    }
  }
  const wire::ZygoteReady ready{base::TickRate::get().ticks_per_ns()};
  // Its manager has no other name of a process in a container, whose end takes all others with it.
  base::Fd self;
  if (isolation == Isolation::kContainer) {
    self.reset(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    if (!self.valid()) {
      manager = std::move(zygote->manager_);
      return system_error("opening a pidfd in the container");
    }
  }
  const int fd = self.get();
  if (auto sent = wire::send_message(zygote->manager_.get(), wire::MessageType::kZygoteReady, ready,
                                     {&fd, self.valid() ? std::size_t{1} : std::size_t{0}});
      !sent) {
    return tl::unexpected<Error>(sent.error());
  }
  return zygote;
}

Result<void> Zygote::isolate(Isolation isolation) {
  if (isolation == Isolation::kContainer) hide_from_others(true);
  auto filter = SystemCallFilter::make();
  if (!filter) return tl::unexpected<Error>(filter.error());
  filter_ = std::move(*filter);
  if (isolation == Isolation::kContainer) return {};  // it is the view
  if (::geteuid() != 0) return {};  // executors run as this user, who sees what is his
  const auto can = can_take_own_view();
  own_view_ = can.has_value();
  if (!can) {
    complain(std::string("executors have no /tmp and /proc of their own here: ") +
             can.error().what());
  }
  return {};
}

Result<void> Zygote::run() {
  for (;;) {
    std::array<pollfd, 2> fds{{{manager_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}}};
    // Waits as long as the manager lives.
    if (::poll(fds.data(), fds.size(), spares_.timeout_ms()) < 0 && errno != EINTR) {
      return system_error("waiting");
    }
    if (fds[1].revents != 0) reap();
    if (fds[0].revents != 0) {
      if (!read_manager()) break;
      spares_.postpone();
    } else {
      spares_.look();
    }
    tell_spares();
  }
  end_all();
  return {};
}

bool Zygote::read_manager() {
  auto message = wire::receive_message(manager_.get());
  if (!message) {
    if (message.error().kind() == ErrorKind::kDisconnected) return false;
    complain(message.error().what());
    return true;
  }
  if (message->type == wire::MessageType::kSpawn) spawn(std::move(*message));
  if (message->type == wire::MessageType::kKill) kill_executor(*message);
  if (message->type == wire::MessageType::kSpares) allow_spares(*message);
  return true;
}

void Zygote::allow_spares(const wire::ReceivedMessage& message) {
  if (const auto spares = message.as<wire::Spares>()) spares_.allow(spares->count);
}

void Zygote::tell_spares() {
  if (spares_.count() == told_spares_) return;
  told_spares_ = spares_.count();
  (void)wire::send_message(manager_.get(), wire::MessageType::kSpares,
                           wire::Spares{static_cast<std::uint32_t>(told_spares_)});
}

void Zygote::spawn(wire::ReceivedMessage message) {
  const auto order = message.as<wire::Spawn>();
  if (!order) {
    complain("the order for an executor has a wrong size");
    return;
  }
  if (order->uid != home_of_) use_home_of(home_of_ = order->uid);
  wire::Spawned spawned{order->request, -1, EINVAL};
  base::Fd pidfd;
  if (auto cores = check_order(message, *order, topology_); !cores) {
    complain(cores.error().what());
  } else if (auto taken = get_executor(*order, *cores, std::move(message)); !taken) {
    complain(taken.error().what());
    spawned.error = taken.error().system_errno();
  } else {
    pidfd = std::move(taken->pidfd);
    spawned.pid = taken->pid;
    spawned.error = 0;
    executors_.push_back(taken->pid);
  }
  const int fd = pidfd.get();
  // Fails only when the manager has gone; the next poll sees that.
  (void)wire::send_message(manager_.get(), wire::MessageType::kSpawned, spawned,
                           {&fd, pidfd.valid() ? std::size_t{1} : std::size_t{0}});
}

void Zygote::kill_executor(const wire::ReceivedMessage& message) {
  const auto order = message.as<wire::Kill>();
  // One that has been reaped is not in the list: its number may be somebody else's.
  if (order && std::find(executors_.begin(), executors_.end(), order->pid) != executors_.end()) {
    ::kill(order->pid, SIGKILL);
  }
}

Result<SpareExecutors::Taken> Zygote::get_executor(const wire::Spawn& order,
                                                   const std::vector<topology::Cpuset>& cores,
                                                   wire::ReceivedMessage message) {
  if (auto spare = spares_.take(message)) return std::move(*spare);
  const pid_t pid = ::fork();
  if (pid < 0) return system_error("forking an executor");
  if (pid == 0) {
    const std::array<int, 3> kept{message.fds[0].get(), message.fds[1].get(), message.fds[2].get()};
    leave_zygote(kept);
    become_executor(order, cores, std::move(message.fds));
  }
  // Both do it, so that it is done whoever comes first.
  ::setpgid(pid, pid);
  // Only this thread reaps, so the number is still this child's. Old kernels and system call
  // filters refuse; then the manager asks this process to kill it.
  return SpareExecutors::Taken{pid, base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
}

/// Where functions run, before there is any thread but this one.
void Zygote::settle(const wire::Spawn& order, const std::vector<topology::Cpuset>& cores) {
  // What functions start and leave belongs to this executor, and to the zygote once it has died.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  if (order.uid != kKeepId || order.gid != kKeepId) enter_usable_directory();
  topology::Cpuset all;
  for (const topology::Cpuset& worker : cores) all |= worker;
  adapt_to_cores(order.cores_per_worker);
  show_gpus(wire::text_of(order.gpus));
  count_own_processors();
  // Libraries are loaded on this thread: what they count, and what they start, are the lease's
  // cores.
  if (const auto list = read_cores(all.to_list()); list && !list->empty()) {
    pin_this_thread(list->front());
  }
}

void Zygote::leave_zygote(std::span<const int> kept) {
  ::setpgid(0, 0);
  base::close_all_but(kept);
  register_exit_handlers();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!own_view_) return;
  if (const auto taken = take_own_view(); !taken) view_problem_ = taken.error().what();
}

void Zygote::become_spare(base::Fd order_socket) {
  if (!die_with_parent(pid_)) ::_exit(0);
  const std::array<int, 1> kept{order_socket.get()};
  leave_zygote(kept);
  base::register_asymmetric_fence();
  touch_own_pages();
  auto message = wire::receive_message(order_socket.get());
  order_socket.reset();
  const auto order = message ? message->as<wire::Spawn>() : std::nullopt;
  if (!order) ::_exit(0);  // it is not needed
  const auto cores = check_order(*message, *order, topology_);
  if (!cores) ::_exit(0);  // the zygote has checked it too
  if (order->uid != home_of_) use_home_of(order->uid);
  become_executor(*order, *cores, std::move(message->fds));
}

void Zygote::become_executor(const wire::Spawn& order, const std::vector<topology::Cpuset>& cores,
                             std::vector<base::Fd> fds) {
  if (!die_with_parent(pid_)) ::_exit(0);
  const int control = fds[0].get();
  arm_fatal_reports(control);
  const std::string name = "sublet-" + std::to_string(order.lease_id);
  ::prctl(PR_SET_NAME, name.c_str(), 0, 0, 0);

  allow_locked_memory(locked_bytes(order));
  if (!view_problem_.empty()) die_before_start(view_problem_);
  if (own_view_ && order.memory_bytes != 0) {
    if (auto limited = limit_own_view(order.memory_bytes); !limited) {
      die_before_start(limited.error().what());
    }
  }
  OutOfMemoryChoice choice;
  if (auto changed = change_identity(order.uid, order.gid); !changed) {
    die_before_start(changed.error().what());
  }
  hide_from_others(order.hidden != 0);
  if (!die_with_parent(pid_)) ::_exit(0);
  if (filter_) {
    if (const auto enforced = filter_->enforce(); !enforced) {
      die_before_start(enforced.error().what());
    }
  }
  choose_core_directory(wire::text_of(order.core_directory));
  settle(order, cores);
  // While there is one thread: later, registering takes the kernel milliseconds.
  if (order.hot_timeout_ms != 0) base::register_asymmetric_fence();

  auto process = ExecutorProcess::start({.order = order,
                                         .functions = *functions_,
                                         .control = control,
                                         .data = std::move(fds[1]),
                                         .accounting = std::move(fds[2])});
  if (!process) die_before_start(process.error().what());
  (void)wire::send_message(control, wire::MessageType::kReady, wire::Ready{order.workers});
  // While the news travels. What the executor itself has by now is not the lease's.
  const auto limit = MemoryLimit::above_now(order.memory_bytes);
  if (!limit) die_before_start(limit.error().what());
  choice.prefer();
  (*process)->run(*limit);
}

void Zygote::reap() {
  std::array<signalfd_siginfo, 16> ignored;
  while (::read(signals_.get(), ignored.data(), sizeof(ignored)) > 0) {
  }
  bool any = false;
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) break;
    const pid_t pid = info.si_pid;
    const auto known = std::find(executors_.begin(), executors_.end(), pid);
    // While it is not reaped its number, and its group's, belongs to nobody else.
    if (known != executors_.end()) ::kill(-pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    any = true;
    if (known == executors_.end()) {
      (void)spares_.ended(pid);
      continue;
    }
    executors_.erase(known);
    (void)wire::send_message(manager_.get(), wire::MessageType::kExited, wire::Exited{pid, status});
  }
  if (any) kill_adopted();
}

/// Ends what the functions of dead executors have started and put into groups of their own: those
/// of living ones are their executor's children. Its own children become ours when it has gone, and
/// follow it the same way.
void Zygote::kill_adopted() {
  for (const pid_t child : base::children()) {
    const bool known = std::find(executors_.begin(), executors_.end(), child) != executors_.end();
    if (!known && !spares_.has(child)) ::kill(child, SIGKILL);
  }
}

void Zygote::end_all() {
  spares_.end_all();
  for (const pid_t pid : executors_) ::kill(-pid, SIGKILL);
  const auto deadline = std::chrono::steady_clock::now() + kLastReap;
  while (std::chrono::steady_clock::now() < deadline) {
    reap();
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return;  // no child is left
    pollfd signals{signals_.get(), POLLIN, 0};
    ::poll(&signals, 1, 100);
  }
  complain("some executors do not end although they were killed");
}

}  // namespace sublet::executor
