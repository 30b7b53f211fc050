// What the client library's tests call.

#include <sublet/function.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

SUBLET_CALL_FUNCTION(echo, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  std::memcpy(call.output<char>(in.size()).data(), in.data(), in.size());
}

struct Pair {
  double a, b;
};
SUBLET_FUNCTION(multiply, const Pair& pair, double& product) {
  product = pair.a * pair.b;
}

SUBLET_CALL_FUNCTION(add_one_in_place, sublet::FunctionCall& call) {
  const auto in = call.input<std::uint64_t>();
  const auto out = call.output<std::uint64_t>(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] + 1;
}

SUBLET_FUNCTION(process, const std::uint8_t&, std::int32_t& pid) {
  pid = ::getpid();
}

SUBLET_FUNCTION(refuse, const std::int32_t& code, std::int32_t&) {
  throw sublet::FunctionError("code " + std::to_string(code) + " is refused", code);
}

SUBLET_FUNCTION(throw_up, const std::uint8_t&, std::uint8_t&) {
  throw std::out_of_range("the seventh of six");
}

SUBLET_FUNCTION(crash, const std::uint8_t&, std::uint8_t&) {
  ::raise(SIGSEGV);
}

SUBLET_FUNCTION(leave, const std::int32_t& status, std::uint8_t&) {
  std::exit(status);
}

SUBLET_FUNCTION(spin_ms, const std::uint32_t& ms, std::uint32_t& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (std::chrono::steady_clock::now() < end) {
  }
  done = ms;
}

// Ends its own process the first time that it runs in a process with this number, so that a lost
// call that is run again elsewhere succeeds there.
SUBLET_FUNCTION(die_unless_generation, const std::int32_t& doomed_pid, std::int32_t& pid) {
  pid = ::getpid();
  if (pid == doomed_pid) ::kill(pid, SIGKILL);
}

SUBLET_FUNCTION(allocate, const std::uint64_t& bytes, std::uint64_t& sum) {
  std::vector<unsigned char> memory(bytes, 1);
  sum = std::accumulate(memory.begin(), memory.end(), std::uint64_t{0});
}

// Memory that RLIMIT_DATA does not count.
SUBLET_FUNCTION(allocate_shared, const std::uint64_t& bytes, std::uint64_t& written) {
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  std::memset(memory, 1, bytes);
  written = bytes;
  for (;;) ::pause();  // until somebody looks
}

// Opens the FIFO of that name, for who waits at its other end, and never returns.
SUBLET_CALL_FUNCTION(stay, sublet::FunctionCall& call) {
  const auto name = call.input<char>();
  ::close(::open(std::string(name.begin(), name.end()).c_str(), O_WRONLY));
  for (;;) ::pause();
}

// Writes into the counters that its executor's manager reads, as any function can.
SUBLET_FUNCTION(forge_counters, const std::uint8_t& byte, std::uint64_t& bytes) {
  std::ifstream maps("/proc/self/maps");
  bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("sublet-accounting") == std::string::npos) continue;
    std::size_t dash = 0;
    const auto begin = std::stoull(line, &dash, 16);
    const auto end = std::stoull(line.substr(dash + 1), nullptr, 16);
    std::memset(reinterpret_cast<void*>(begin), byte, end - begin);
    bytes += end - begin;
  }
}
