#include "supervised_node.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sodium/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace sublet::manager {
namespace {

namespace fs = std::filesystem;

/// Both ends, so that neither opening nor the end of the other side matters.
base::Fd make_fifo(const std::string& path, const char* variable) {
  if (::mkfifo(path.c_str(), 0600) != 0) throw std::runtime_error("no FIFO can be made");
  ::setenv(variable, path.c_str(), 1);
  return base::Fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
}

pid_t parent_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string stat{std::istreambuf_iterator<char>(file), {}};
  const std::size_t after = stat.rfind(')');
  if (after == std::string::npos) return -1;
  char state = 'X';
  pid_t parent = -1;
  std::istringstream(stat.substr(after + 1)) >> state >> parent;
  return state == 'Z' ? -1 : parent;
}

}  // namespace

SupervisedNode::SupervisedNode()
    : io_(kj::setupAsyncIo()),
      timer_(kj::origin<kj::TimePoint>()),
      entered_(make_fifo(directory_.path() + "/entered", "SUBLET_TEST_ENTERED")),
      let_on_(make_fifo(directory_.path() + "/let-on", "SUBLET_TEST_LET_ON")),
      processes_(io_.unixEventPort, counting_,
                 start_zygote(ZygoteFor::kApplication).value_or_throw()),
      services_{{counting_, processes_}, libraries_, clock_} {
  if (::sodium_init() < 0) throw std::runtime_error("libsodium does not start");
}

void SupervisedNode::advance(std::chrono::milliseconds time) {
  // A leap would be taken for a stop of the process, see wire/running_time.hpp.
  constexpr std::chrono::milliseconds kStep{20};
  const auto end = elapsed_ + time;
  do {
    elapsed_ = std::min(elapsed_ + kStep, end);
    timer_.advanceTo(kj::origin<kj::TimePoint>() + to_kj(elapsed_));
    turn();
  } while (elapsed_ < end);
}

GrantTerms SupervisedNode::terms() {
  GrantTerms terms;
  terms.key = {LeaseId{17}, 0, NodeNumber{}};
  terms.workers = 1;
  terms.memory_bytes = std::uint64_t{64} << 20;
  terms.arena_bytes = std::uint64_t{1} << 20;
  terms.hot_timeout_ms = 0;
  terms.token.fill(7);
  terms.expires = ManagerClock().now() + std::chrono::seconds(100);
  return terms;
}

std::vector<std::string> SupervisedNode::cpusets() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof(allowed), &allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) return {std::to_string(cpu)};
  }
  throw std::runtime_error("this process may use no CPU");
}

ExecutorSupervisor::FunctionRequest SupervisedNode::gated_function(std::uint16_t index) {
  std::ifstream file(GATED_LIBRARY, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  const auto sha256 = wait(libraries_.install(std::as_bytes(std::span(content)))).value_or_throw();
  ExecutorSupervisor::FunctionRequest request;
  request.open.index = index;
  request.open.sha256 = sha256;
  wire::set_text(request.open.name, "gated");
  wire::set_text(request.open.library, GATED_LIBRARY);
  request.library = libraries_.find(sha256);
  return request;
}

void SupervisedNode::let_on(int times) {
  const std::string bytes(static_cast<std::size_t>(times), 'g');
  if (::write(let_on_.get(), bytes.data(), bytes.size()) != times) {
    throw std::runtime_error("the FIFO takes no more");
  }
}

void SupervisedNode::wait_until_loading() {
  kj::UnixEventPort::FdObserver observer(io_.unixEventPort, entered_.get(),
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  char byte = 0;
  while (::read(entered_.get(), &byte, 1) != 1) wait(observer.whenBecomesReadable());
}

std::vector<pid_t> SupervisedNode::executors() {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (parent_of(name) == processes_.zygote().pid())
      found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

void SupervisedNode::kill_executor() {
  const auto pids = executors();
  if (pids.size() != 1)
    throw std::runtime_error("not one executor but " + std::to_string(pids.size()));
  ::kill(pids.front(), SIGKILL);
}

}  // namespace sublet::manager
