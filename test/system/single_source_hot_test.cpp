// What a call of a lambda does on its way, in the client's thread and in the worker's: no system
// call and no allocation. A round may meet a thread that has lost its core, and then takes a longer
// way; the best of many rounds counts.

#include <sublet/sublet.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>

// Of hot_path_functions.cpp and malloc_counter.c: here they are this program's own, and so the
// executor's too. Each counts what its thread does.
extern "C" std::uint32_t hot_count_system_calls(void*, std::uint32_t, void* res);
extern "C" std::uint32_t hot_seen(void*, std::uint32_t, void* res);
extern "C" std::uint64_t sublet_test_allocations();

namespace {

constexpr int kRounds = 2000;
constexpr int kCallsPerRound = 100;

struct Seen {
  std::uint64_t waits, others, last_other, allocations, can_count_allocations;
  [[nodiscard]] std::uint64_t all() const { return waits + others + allocations; }
};

Seen seen_here() {
  Seen seen{};
  (void)hot_seen(nullptr, 0, &seen);
  return seen;
}

std::int32_t count_here() {
  std::int32_t error = -1;
  (void)hot_count_system_calls(nullptr, 0, &error);
  return error;
}

struct Outcome {
  bool ok = false;
  std::uint64_t fewest_here = ~std::uint64_t{0};
  std::uint64_t fewest_there = ~std::uint64_t{0};
};

/// The calling thread makes no system call any more: it cannot end either.
void measure(sublet::Lease& lease, Outcome& outcome) {
  const auto ask = [&lease] { return lease.call([] { return seen_here(); }).value_or_throw(); };
  const std::int64_t add = 3;
  const auto call = [&](std::int64_t x) {
    return lease.call([add](std::int64_t y) { return y + add; }, x).value_or_throw();
  };
  (void)call(1);  // finds the function
  (void)ask();
  if (lease.call([] { return count_here(); }).value_or_throw() != 0 || count_here() != 0) return;
  Seen there = ask();
  bool right = there.can_count_allocations == 1;
  for (int round = 0; round < kRounds; ++round) {
    const Seen here = seen_here();
    for (int i = 0; i < kCallsPerRound; ++i) right = right && call(i) == i + add;
    outcome.fewest_here = std::min(outcome.fewest_here, seen_here().all() - here.all());
    const Seen now = ask();
    outcome.fewest_there = std::min(outcome.fewest_there, now.all() - there.all());
    there = now;
  }
  outcome.ok = right;
}

}  // namespace

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  auto session = sublet::Session::open().value_or_throw();
  auto lease = session.lease().value_or_throw();
  Outcome outcome;
  std::atomic<bool> done{false};
  std::thread caller([&] {
    measure(lease, outcome);
    done = true;
    done.notify_all();
    for (;;) done.wait(true);  // to end takes system calls
  });
  done.wait(false);
  lease.release();
  std::printf("fewest system calls and allocations of %d calls: %llu here, %llu in the worker\n",
              kCallsPerRound, static_cast<unsigned long long>(outcome.fewest_here),
              static_cast<unsigned long long>(outcome.fewest_there));
  std::fflush(stdout);
  lease = {};
  session = {};
  std::_Exit(outcome.ok && outcome.fewest_here == 0 && outcome.fewest_there == 0 ? EXIT_SUCCESS
                                                                                 : EXIT_FAILURE);
}
