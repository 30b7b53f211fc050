// A simulated cluster for each of many seeds: `./dev sim --seeds N [--seed S]`.

#include "cluster.hpp"
#include "run_seed.hpp"
#include <base/log.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

namespace sublet::sim {
namespace {

struct Wanted {
  std::uint64_t first = 1;
  std::uint64_t seeds = 200;
  unsigned jobs = 1;
  ClusterOptions cluster;
};

[[noreturn]] void usage(const std::string& problem) {
  std::fprintf(stderr,
               "sim: %s\n"
               "usage: ./dev sim [--seeds N] [--seed S] [--jobs J] [--trace]\n"
               "  --seeds N   so many, from S on (200; 1 with --seed)\n"
               "  --seed S    the first one (1)\n"
               "  --jobs J    processes side by side (as many as there are cores)\n"
               "  --trace     prints every event, and SUBLET_LOG=debug what the managers log\n",
               problem.c_str());
  std::exit(2);
}

std::uint64_t number(const std::string& option, const char* text) {
  char* end = nullptr;
  const std::uint64_t value = text == nullptr ? 0 : std::strtoull(text, &end, 10);
  if (text == nullptr || *text < '0' || *text > '9' || *end != '\0') {
    usage(option + " wants a number");
  }
  return value;
}

Wanted read(int argc, char** argv) {
  Wanted wanted;
  wanted.jobs = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  bool many = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--trace") {
      wanted.cluster.prints = true;
      continue;
    }
    const char* const value = i + 1 < argc ? argv[++i] : nullptr;
    if (option == "--seeds") {
      wanted.seeds = number(option, value);
      many = true;
    } else if (option == "--seed") {
      wanted.first = number(option, value);
      if (!many) wanted.seeds = 1;
    } else if (option == "--jobs") {
      wanted.jobs = static_cast<unsigned>(std::max<std::uint64_t>(1, number(option, value)));
    } else {
      usage("'" + option + "' is no option of it");
    }
  }
  return wanted;
}

/// For whoever ends in the middle of it.
std::uint64_t seed_now = 0;

[[noreturn]] void tell_seed() {
  std::fprintf(stderr, "seed %llu: ended by what nobody caught\n  again: ./dev sim --seed %llu\n",
               static_cast<unsigned long long>(seed_now),
               static_cast<unsigned long long>(seed_now));
  std::abort();
}

/// Every `jobs`-th seed from `first` on; how many failed.
int run_some(const Wanted& wanted, unsigned job) {
  int failed = 0;
  std::uint64_t leases = 0;
  std::uint64_t events = 0;
  std::uint64_t core_ms = 0;
  std::uint64_t done = 0;
  for (std::uint64_t i = job; i < wanted.seeds; i += wanted.jobs) {
    ClusterOptions options = wanted.cluster;
    options.seed = seed_now = wanted.first + i;
    const Outcome outcome = run_seed(options);
    leases += outcome.leases;
    events += outcome.events;
    core_ms += outcome.core_ms;
    ++done;
    if (outcome.failure) {
      ++failed;
      std::printf("seed %llu: %s\n  again: ./dev sim --seed %llu\n",
                  static_cast<unsigned long long>(options.seed), outcome.failure->c_str(),
                  static_cast<unsigned long long>(options.seed));
    }
    if (wanted.seeds == 1) {
      std::printf("seed %llu: %llu events, trace %016llx\n",
                  static_cast<unsigned long long>(options.seed),
                  static_cast<unsigned long long>(outcome.events),
                  static_cast<unsigned long long>(outcome.hash));
    }
    std::fflush(stdout);
  }
  std::printf("%llu seeds, %d failed: %llu leases, %.0f core-seconds, %llu events\n",
              static_cast<unsigned long long>(done), failed,
              static_cast<unsigned long long>(leases), static_cast<double>(core_ms) / 1000.0,
              static_cast<unsigned long long>(events));
  std::fflush(stdout);  // a child ends without that
  return failed;
}

int run(const Wanted& wanted) {
  const unsigned jobs = static_cast<unsigned>(
      std::min<std::uint64_t>(wanted.jobs, std::max<std::uint64_t>(1, wanted.seeds)));
  Wanted each = wanted;
  each.jobs = jobs;
  if (jobs == 1) return run_some(each, 0) == 0 ? 0 : 1;
  std::vector<pid_t> children;
  for (unsigned job = 0; job < jobs; ++job) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(run_some(each, job) == 0 ? 0 : 1);
    if (child > 0) children.push_back(child);
  }
  int result = children.size() == jobs ? 0 : 1;
  for (const pid_t child : children) {
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) result = 1;
  }
  return result;
}

}  // namespace
}  // namespace sublet::sim

int main(int argc, char** argv) {
  const auto wanted = sublet::sim::read(argc, argv);
  std::set_terminate(sublet::sim::tell_seed);
  sublet::base::init_log("sim", spdlog::level::off);
  return sublet::sim::run(wanted);
}
