#include "process.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace sublet::conformance {

bool long_run() {
  const char* value = std::getenv("SUBLET_TEST_LONG");
  return value != nullptr && std::string_view(value) == "1";
}

bool emulated_machine() {
  const char* value = std::getenv("SUBLET_RDMA_GUEST");
  return value != nullptr && std::string_view(value) == "1";
}

bool is_blocked(pid_t process, pid_t thread) {
  std::ifstream file("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) +
                     "/stat");
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(')');
  return name_end != std::string::npos && name_end + 2 < text.size() && text[name_end + 2] == 'S';
}

std::uint64_t times_slept() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return static_cast<std::uint64_t>(usage.ru_nvcsw);
}

std::chrono::nanoseconds processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

namespace {

std::vector<std::size_t> cpus_of_the_process() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(::getpid(), sizeof(set), &set);
  std::vector<std::size_t> cpus;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace

std::size_t usable_cpus() {
  return cpus_of_the_process().size();
}

void bind_this_thread(std::size_t nth) {
  const std::vector<std::size_t> cpus = cpus_of_the_process();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus.at(nth % cpus.size()), &set);
  if (::sched_setaffinity(0, sizeof(set), &set) != 0) {
    throw std::system_error(errno, std::generic_category(), "sched_setaffinity");
  }
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all))) - 1;  // not its own
}

std::size_t mappings_named(std::string_view part_of_name) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(part_of_name) != std::string::npos) ++count;
  }
  return count;
}

namespace {

using Line = std::array<char, 512>;

}  // namespace

Child::Child(const std::function<void(Child&)>& body)
    : helper_(base::HelperProcess::start([&](base::HelperLink& parent) {
                parent_ = &parent;
                try {
                  body(*this);
                } catch (const std::exception& error) {
                  std::fprintf(stderr, "in a child of the test: %s\n", error.what());
                  ::_exit(2);
                }
              }).value_or_throw()) {}

void Child::say(const std::string& text) {
  Line line{};
  text.copy(line.data(), line.size() - 1);
  parent_->tell(line).value_or_throw();
}

std::string Child::hear() {
  const auto line = helper_.link().hear<Line>(kPatience);
  return line ? line->data() : "";
}

void Child::stop() {
  if (::kill(pid(), SIGSTOP) != 0) {
    throw std::system_error(errno, std::generic_category(), "stopping a child");
  }
  int status = 0;
  while (::waitpid(pid(), &status, WUNTRACED) < 0 && errno == EINTR) {
  }
  if (!WIFSTOPPED(status)) throw std::runtime_error("a child that was to stop has ended");
}

void Child::go_on() {
  if (pid() > 0) ::kill(pid(), SIGCONT);
}

}  // namespace sublet::conformance
