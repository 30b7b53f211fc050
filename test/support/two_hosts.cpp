#include "two_hosts.hpp"

#include "child_process.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kCommandLimit = 30s;

/// The path of a program of the system; empty if it is not installed.
std::string find_program(const std::string& name) {
  for (const std::string folder : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
  }
  return {};
}

/// By a name that other processes can use too.
std::string path_of(const base::Fd& fd) {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd.get());
}

base::Fd current_namespace() {
  return base::Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

void run(const std::vector<std::string>& command) {
  const auto status = ChildProcess(command, {}).wait(kCommandLimit);
  if (status && WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return;
  std::string text;
  for (const std::string& word : command) text += " " + word;
  throw std::runtime_error((status ? "failed:" : "does not end:") + text);
}

void write_file(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) throw std::runtime_error(std::string("cannot write ") + path);
}

/// Moves this process to a user namespace of its own, in which it is root.
bool become_root() {
  const auto uid = std::to_string(::geteuid());
  const auto gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) != 0) return false;
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", "0 " + uid + " 1");
  write_file("/proc/self/gid_map", "0 " + gid + " 1");
  return true;
}

}  // namespace

std::unique_ptr<TwoHosts> TwoHosts::make(std::string& why_not) {
  const std::string ip = find_program("ip");
  if (ip.empty() || find_program("nsenter").empty()) {
    why_not = "ip or nsenter is not installed (packages iproute2 and util-linux)";
    return nullptr;
  }
  std::unique_ptr<TwoHosts> hosts(new TwoHosts);
  if (::geteuid() == 0) {
    hosts->home_ = current_namespace();
  } else if (!become_root()) {
    why_not =
        std::string("neither root nor allowed to make a user namespace: ") + std::strerror(errno);
    return nullptr;
  }
  for (base::Fd* host : {&hosts->second_, &hosts->first_}) {
    if (::unshare(CLONE_NEWNET) != 0) {
      why_not = std::string("not allowed to make a network namespace: ") + std::strerror(errno);
      return nullptr;
    }
    *host = current_namespace();
  }

  const auto second = [&](std::vector<std::string> words) {
    words.insert(words.begin(), ip);
    run(hosts->on_second(words));
  };
  if (ChildProcess({ip, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
                    path_of(hosts->second_)},
                   {})
          .wait(kCommandLimit) != 0) {
    why_not = "this kernel makes no veth devices";
    return nullptr;
  }
  run({ip, "link", "set", "lo", "up"});
  run({ip, "address", "add", std::string(kFirstAddress) + "/24", "dev", "eth0"});
  run({ip, "link", "set", "eth0", "up"});
  second({"link", "set", "lo", "up"});
  second({"address", "add", std::string(kSecondAddress) + "/24", "dev", "eth0"});
  second({"link", "set", "eth0", "up"});
  return hosts;
}

TwoHosts::~TwoHosts() {
  if (home_.valid()) ::setns(home_.get(), CLONE_NEWNET);
}

std::vector<std::string> TwoHosts::on_second(const std::vector<std::string>& command) const {
  std::vector<std::string> words = {find_program("nsenter"), "--net=" + path_of(second_), "--"};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

bool TwoHosts::keep_only_ipv6() const {
  const std::string ip = find_program("ip");
  const auto add = [&](const char* address) {
    return std::vector<std::string>{ip,    "address", "add",  std::string(address) + "/64",
                                    "dev", "eth0",    "nodad"};
  };
  if (ChildProcess(add(kFirstAddress6), {}).wait(kCommandLimit) != 0 ||
      ChildProcess(on_second(add(kSecondAddress6)), {}).wait(kCommandLimit) != 0) {
    return false;
  }
  const std::vector<std::string> flush = {ip, "-4", "address", "flush", "dev", "eth0"};
  run(flush);
  run(on_second(flush));
  return true;
}

void TwoHosts::cut() const {
  run(on_second({find_program("ip"), "link", "set", "eth0", "down"}));
}

void TwoHosts::restore() const {
  run(on_second({find_program("ip"), "link", "set", "eth0", "up"}));
}

TwoHosts::Visit::Visit(const TwoHosts& hosts) : hosts_(hosts) {
  if (::setns(hosts_.second_.get(), CLONE_NEWNET) != 0) {
    throw std::runtime_error(std::string("cannot go to the second host: ") + std::strerror(errno));
  }
}

TwoHosts::Visit::~Visit() {
  ::setns(hosts_.first_.get(), CLONE_NEWNET);
}

}  // namespace sublet::test
