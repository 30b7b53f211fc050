#include "zygote_under_test.hpp"

#include <base/unix_socket.hpp>
#include <topology/topology.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace sublet::executor {
namespace {

std::string fresh_socket_name() {
  static int counter = 0;
  return "sublet-executor-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

template <class Body>
Body expect(const wire::ReceivedMessage& message, wire::MessageType type) {
  const auto body = message.as<Body>();
  if (message.type != type || !body) {
    throw std::runtime_error("message " + std::to_string(static_cast<unsigned>(message.type)) +
                             " came where " + std::to_string(static_cast<unsigned>(type)) +
                             " was expected");
  }
  return *body;
}

template <class Body>
Body receive_as(int socket, wire::MessageType type) {
  return expect<Body>(wire::receive_message(socket, kPatience).value_or_throw(), type);
}

template <class Body>
void send_or_throw(int socket, wire::MessageType type, const Body& body,
                   std::span<const int> fds = {}) {
  wire::send_message(socket, type, body, fds).value_or_throw();
}

}  // namespace

const wire::WorkerCounters& ExecutorUnderTest::counters(std::uint32_t worker) const {
  return reinterpret_cast<const wire::WorkerCounters*>(accounting.data())[worker];
}

wire::Opened ExecutorUnderTest::open(std::uint16_t index, const std::string& library,
                                     const std::string& function,
                                     std::chrono::milliseconds timeout) {
  // Stands for the hash of the content: the executor only compares it.
  const auto hash = static_cast<std::uint8_t>(std::hash<std::string>{}(library));
  return open_memory(index, library_memory(library), hash, function, timeout);
}

wire::Opened ExecutorUnderTest::open_memory(std::uint16_t index, base::Fd memory, std::uint8_t hash,
                                            const std::string& function,
                                            std::chrono::milliseconds timeout) {
  order_open(index, std::move(memory), hash, function, timeout);
  return receive_as<wire::Opened>(control.get(), wire::MessageType::kOpened);
}

void ExecutorUnderTest::order_open(std::uint16_t index, base::Fd memory, std::uint8_t hash,
                                   const std::string& function, std::chrono::milliseconds timeout) {
  wire::Open open{};
  open.index = index;
  open.timeout_ms = static_cast<std::uint64_t>(timeout.count());
  wire::set_text(open.name, function);
  wire::set_text(open.library, "libtest.so");
  open.sha256.fill(hash);
  const int fd = memory.get();
  send_or_throw(control.get(), wire::MessageType::kOpen, open, {&fd, 1});
}

void ExecutorUnderTest::open_all(const std::string& library,
                                 const std::vector<std::string>& functions) {
  std::uint16_t index = 0;
  for (const std::string& function : functions) {
    const wire::Opened opened = open(index++, library, function);
    if (opened.ok == 0) throw std::runtime_error(opened.text.data());
  }
}

wire::Dying ExecutorUnderTest::dying() {
  return receive_as<wire::Dying>(control.get(), wire::MessageType::kDying);
}

Result<transport::shm::ClientChannel> ExecutorUnderTest::connect(
    std::uint32_t worker, const std::shared_ptr<transport::Arena>& arena) {
  return transport::shm::Transport::connect(
      {.address = socket, .token = token, .worker = worker, .slots = slots, .timeout = kPatience},
      arena);
}

ZygoteUnderTest::ZygoteUnderTest(const std::vector<std::string>& environment) {
  auto [ours, theirs] = base::make_socketpair().value_or_throw();
  pid_ = ::fork();
  if (pid_ == 0) {
    for (const std::string& entry : environment) ::putenv(const_cast<char*>(entry.c_str()));
    const int fd = ::dup(theirs.get());  // without close-on-exec
    const std::string text = std::to_string(fd);
    ::execl(SUBLET_EXECUTOR, "sublet-executor", "--zygote", text.c_str(), nullptr);
    ::_exit(127);
  }
  theirs.reset();
  socket_ = std::move(ours);
  try {
    ticks_per_ns_ =
        receive_as<wire::ZygoteReady>(socket_.get(), wire::MessageType::kZygoteReady).ticks_per_ns;
  } catch (...) {
    close_and_wait();
    throw;
  }
}

ZygoteUnderTest::~ZygoteUnderTest() {
  if (pid_ > 0) close_and_wait();
}

int ZygoteUnderTest::close_and_wait() {
  socket_.reset();
  const base::Fd pidfd = watch_process(pid_);
  if (!ended_within(pidfd.get(), kPatience)) ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  return status;
}

ExecutorUnderTest ZygoteUnderTest::order(const SpawnOptions& options, std::uint64_t request) {
  ExecutorUnderTest executor;
  executor.socket = fresh_socket_name();
  executor.slots = options.slots;
  for (std::size_t i = 0; i < executor.token.size(); ++i) {
    executor.token[i] = static_cast<std::uint8_t>(request + 7 * i);
  }
  const std::size_t accounting_bytes = options.accounting_bytes != 0
                                           ? options.accounting_bytes
                                           : options.workers * sizeof(wire::WorkerCounters);
  executor.accounting = base::SharedMemory::create("test-accounting", accounting_bytes,
                                                   base::SharedMemory::Pages::kSmall)
                            .value_or_throw();
  const base::Fd listening = base::listen_abstract(executor.socket, 16).value_or_throw();
  auto [ours, theirs] = base::make_socketpair().value_or_throw();
  executor.control = std::move(ours);

  wire::Spawn spawn{};
  spawn.request = request;
  spawn.lease_id = 17;
  spawn.workers = options.workers;
  spawn.slots = options.slots;
  spawn.cores_per_worker = options.cores_per_worker;
  spawn.memory_bytes = options.memory_bytes;
  spawn.max_arena_bytes = std::uint64_t{1} << 30;
  spawn.hot_timeout_ms = options.hot_timeout_ms;
  spawn.stack_bytes = options.stack_bytes;
  wire::set_text(spawn.core_directory, options.core_directory);
  spawn.uid = options.uid;
  spawn.gid = options.gid;
  spawn.token = executor.token;
  std::string cpusets = options.cpusets;
  for (std::uint32_t i = 0; options.cpusets.empty() && i < options.workers; ++i) {
    cpusets += (i == 0 ? "" : ";") + usable_cores();
  }
  wire::set_text(spawn.cpusets, cpusets);
  wire::set_text(spawn.gpus, options.gpus);
  const std::array<int, 3> fds{theirs.get(), listening.get(), executor.accounting.fd()};
  send_or_throw(socket_.get(), wire::MessageType::kSpawn, spawn, fds);
  return executor;
}

wire::ReceivedMessage ZygoteUnderTest::receive_spawned() {
  for (;;) {
    auto message = wire::receive_message(socket_.get(), kPatience).value_or_throw();
    if (!keep(message)) return message;
  }
}

bool ZygoteUnderTest::keep(const wire::ReceivedMessage& message) {
  if (message.type == wire::MessageType::kSpares) {
    spares_ = expect<wire::Spares>(message, wire::MessageType::kSpares).count;
    return true;
  }
  if (message.type != wire::MessageType::kExited) return false;
  const auto exited = expect<wire::Exited>(message, wire::MessageType::kExited);
  exits_[exited.pid] = exited.wait_status;
  return true;
}

void ZygoteUnderTest::allow_spares(std::uint32_t most) {
  send_or_throw(socket_.get(), wire::MessageType::kSpares, wire::Spares{most});
}

void ZygoteUnderTest::wait_for_spares(std::uint32_t count) {
  while (spares_ != count) {
    if (!keep(wire::receive_message(socket_.get(), kPatience).value_or_throw())) {
      throw std::runtime_error("something else came than the number of spares");
    }
  }
}

std::vector<pid_t> ZygoteUnderTest::spares(const std::vector<pid_t>& executors) const {
  std::ifstream children("/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_) +
                         "/children");
  std::vector<pid_t> found;
  for (pid_t pid = 0; children >> pid;) {
    if (std::find(executors.begin(), executors.end(), pid) == executors.end()) found.push_back(pid);
  }
  return found;
}

ExecutorUnderTest ZygoteUnderTest::spawn(const SpawnOptions& options) {
  const std::uint64_t request = next_request_++;
  ExecutorUnderTest executor = order(options, request);
  wire::ReceivedMessage answer = receive_spawned();
  const auto spawned = expect<wire::Spawned>(answer, wire::MessageType::kSpawned);
  if (spawned.request != request || spawned.error != 0 || answer.fds.size() != 1) {
    throw std::runtime_error("the executor was not forked: " +
                             std::string(std::strerror(spawned.error)));
  }
  executor.pid = spawned.pid;
  executor.pidfd = std::move(answer.fds[0]);
  const auto first = wire::receive_message(executor.control.get(), kPatience).value_or_throw();
  if (first.type == wire::MessageType::kDying) {
    throw std::runtime_error(first.as<wire::Dying>()->text.data());
  }
  (void)expect<wire::Ready>(first, wire::MessageType::kReady);
  return executor;
}

int ZygoteUnderTest::exit_of(pid_t pid) {
  while (exits_.count(pid) == 0) {
    if (!keep(wire::receive_message(socket_.get(), kPatience).value_or_throw())) {
      throw std::runtime_error("something else came than the end of an executor");
    }
  }
  return exits_.extract(pid).mapped();
}

bool ended_within(int pidfd, std::chrono::milliseconds limit) {
  if (pidfd < 0) return true;
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(limit.count())) == 1;
}

base::Fd watch_process(pid_t pid) {
  return base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

std::string usable_cores() {
  static const std::string cores = topology::Topology::load().value_or_throw().cpuset().to_list();
  return cores;
}

base::Fd library_memory(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
  return base::SharedMemory::sealed_copy("libtest.so", std::as_bytes(std::span(content)))
      .value_or_throw();
}

CallResult call(transport::shm::ClientChannel& channel, std::uint16_t function, const void* in,
                std::uint64_t in_size, void* out, std::uint64_t out_capacity) {
  transport::Ticket ticket;
  const Status submitted = channel.submit({.in = in,
                                           .in_size = in_size,
                                           .out = out,
                                           .out_capacity = out_capacity,
                                           .function = function},
                                          ticket);
  if (submitted != Status::kOk) return {submitted, 0, 0, "not submitted"};
  transport::ReplyView reply;
  const Status waited = channel.wait(ticket, reply, base::Deadline::after(kPatience));
  if (waited != Status::kOk) return {waited, 0, 0, "waited in vain"};
  return {reply.status, reply.size, reply.exec_ns, std::string(reply.error)};
}

}  // namespace sublet::executor
