#include "compare_loops.hpp"

#include "pairs.hpp"
#include <sublet/mpi.hpp>

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sublet::mpi::bench {
namespace {

constexpr int kPairs = 15;
constexpr std::size_t kOptions = 1200'000;  ///< Some tens of milliseconds on one core.
constexpr std::size_t kNumbers = 16'000'000;
constexpr std::size_t kSteps = 100'000;  ///< Of about a microsecond.
constexpr double kTaskUs = 100;
constexpr int kSlower = 4;

Allocator lease_worker(int cpu) {
  AllocatorOptions options;
  options.session = SessionOptions::load().value_or_throw();
  options.session.private_cpuset = std::to_string(cpu);
  options.hot_timeout = std::chrono::milliseconds(2);
  options.arena_bytes = std::uint64_t{64} << 20;
  return Allocator::create(MPI_COMM_SELF, options).value_or_throw();
}

void expect(bool right, const char* what) {
  if (!right) throw Error(ErrorKind::kInternal, std::string(what) + ": the results are wrong");
}

template <class Work>
double time_of(Work&& work) {
  const auto start = Clock::now();
  work();
  return microseconds_of(Clock::now() - start);
}

// ---- Black-Scholes: the price of a European call ----

struct Option {
  double spot, strike, rate, volatility, years;
};

double price(const Option& o) {
  const double deviation = o.volatility * std::sqrt(o.years);
  const double d1 =
      (std::log(o.spot / o.strike) + (o.rate + o.volatility * o.volatility / 2) * o.years) /
      deviation;
  const auto normal = [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; };
  return o.spot * normal(d1) - o.strike * std::exp(-o.rate * o.years) * normal(d1 - deviation);
}

void compare_pricing(Lease& lease, const char* mpi) {
  auto options = lease.buffer<Option>(kOptions).value_or_throw();
  auto prices = lease.buffer<double>(kOptions).value_or_throw();
  std::vector<double> alone(kOptions);
  for (std::size_t i = 0; i < kOptions; ++i) {
    const auto x = static_cast<double>(i % 1000);
    options[i] = {80 + x / 25, 100, 0.02, 0.1 + x / 5000, 0.5 + x / 500};
  }
  const auto offload = [&](const OffloadOptions& how) {
    (void)offload_map(lease, how, in(options.span()), out(prices.span()), price).value_or_throw();
  };
  offload({.computes_here = false});  // once, it takes a page fault for each page
  Row row{"offload_for_2cores", "one core", {}, {}};
  row.is_speed_up = true;
  Row ideal{"offload_for_share", "ideal share", {}, {}};  // of cores that may differ in speed
  for (int i = 0; i < pairs_of(kPairs); ++i) {
    const double slow = time_of([&] {
      for (std::size_t k = 0; k < kOptions; ++k) alone[k] = price(options[k]);
    });
    const double both = time_of([&] { offload({}); });
    row.add(both, slow);
    expect(std::equal(alone.begin(), alone.end(), prices.begin()), row.name);
    const double worker = time_of([&] { offload({.computes_here = false}); });
    ideal.add(both, 1 / (1 / slow + 1 / worker));
  }
  row.print(mpi, "-");
  ideal.print(mpi, "-");
}

// ---- Work that is no work: a number is read, and another written ----

/// Not a function, of which only the address would be known: this is compiled into the loop.
constexpr auto next = [](double x) { return x + 1; };

void compare_copying(Lease& lease, const char* mpi) {
  std::vector<double> numbers(kNumbers);
  std::vector<double> results(kNumbers);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  Row row{"offload_not_worth_it", "one core", {}, {}};
  for (int i = 0; i < pairs_of(kPairs); ++i) {
    // Before both: what is in the caches then, and has to be written back, is the same.
    std::fill(results.begin(), results.end(), 0.0);
    const double alone = time_of([&] {
      for (std::size_t k = 0; k < kNumbers; ++k) results[k] = next(numbers[k]);
    });
    std::fill(results.begin(), results.end(), 0.0);
    row.add(time_of([&] {
              (void)offload_map(lease, in(numbers), out(results), next).value_or_throw();
            }),
            alone);
    expect(results.front() == 1 && results.back() == static_cast<double>(kNumbers), row.name);
  }
  row.print(mpi, "-");
}

// ---- A worker that becomes slow ----

std::uint64_t step(std::uint64_t x) {
  for (int i = 0; i < 500; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
  return x;
}

std::uint64_t steps(std::size_t first, std::size_t last) {
  std::uint64_t sum = 0;
  for (std::size_t i = first; i < last; ++i) sum += step(i);
  return sum;
}

/// On a node the clocks of rank and worker are one.
std::uint64_t slowing_steps(std::size_t first, std::size_t last, pid_t rank,
                            Clock::time_point slow_from) {
  if (::getpid() == rank) return steps(first, last);
  std::uint64_t sum = 0;
  for (std::size_t i = first; i < last; ++i) {
    const bool is_slow = Clock::now() > slow_from;
    for (int again = 1; again < (is_slow ? kSlower : 1); ++again) {
      volatile std::uint64_t wasted = step(i);
      (void)wasted;
    }
    sum += step(i);
  }
  return sum;
}

void compare_slowing(Lease& lease, const char* mpi) {
  Row row{"slow_worker", "ideal share", {}, {}};
  for (int i = 0; i < pairs_of(kPairs); ++i) {
    std::uint64_t expected = 0;
    const double alone = time_of([&] { expected = steps(0, kSteps); });
    // At half of the ideal time of both: from there on the worker does a quarter.
    const double until = alone / 4;
    const double ideal = until + (alone - 2 * until) / (1 + 1.0 / kSlower);
    const auto slow_from =
        Clock::now() + std::chrono::nanoseconds(static_cast<std::int64_t>(until * 1e3));
    std::uint64_t sum = 0;
    const double both = time_of([&] {
      sum = offload_reduce(lease, kSteps, std::uint64_t{0}, std::plus<>(), slowing_steps,
                           ::getpid(), slow_from)
                .value_or_throw()
                .value;
    });
    row.add(both, ideal);
    expect(sum == expected, row.name);
  }
  row.print(mpi, "-");
}

// ---- A call beside this rank's own work ----

std::uint64_t turns(std::uint64_t count) {
  std::uint64_t x = 1;
  for (std::uint64_t i = 0; i < count; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
  return x;
}

void compare_overlap(Lease& lease, const char* mpi) {
  constexpr std::uint64_t kProbe = 1'000'000;
  std::uint64_t x = 0;
  const double probe = time_of([&] { x = turns(kProbe); });
  const auto task = static_cast<std::uint64_t>(static_cast<double>(kProbe) * kTaskUs / probe);
  const std::uint64_t expected = turns(task);
  auto function = lease.function<&turns>();
  const auto alone = [&] { x = turns(task); };
  const auto both = [&] {
    auto call = function.async(task).value_or_throw();
    x = turns(task);
    expect(call.get().value_or_throw() == x, "overlap_100us");
  };
  Row row{"overlap_100us", "one task", {}, {}};
  row.is_speed_up = true;  // of 1 at most
  for (int i = 0; i < pairs_of(2 * kPairs); ++i) {
    constexpr int kTasks = 50;
    both();  // wakes the worker
    const double ours = time_of([&] {
      for (int k = 0; k < kTasks; ++k) both();
    });
    row.add(ours / kTasks, time_of([&] {
                             for (int k = 0; k < kTasks; ++k) alone();
                           }) / kTasks);
    expect(x == expected, row.name);
  }
  row.print(mpi, "-");
}

}  // namespace

void compare_loops(int cpu, const char* mpi) {
  Allocator workers = lease_worker(cpu);
  Lease& lease = workers.lease();
  compare_pricing(lease, mpi);
  compare_copying(lease, mpi);
  compare_slowing(lease, mpi);
  compare_overlap(lease, mpi);
}

}  // namespace sublet::mpi::bench
