#pragma once

// How sublet-mpi-compare measures: short batches of one thing and of the other in turn, so that a
// pair meets the same machine; the ratio is the median over the pairs.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace sublet::mpi::bench {

using Clock = std::chrono::steady_clock;

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

inline double microseconds_of(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

/// How many pairs to measure: fewer than usual where SUBLET_COMPARE_PAIRS says so, as tests do.
inline int pairs_of(int usual) {
  const char* wanted = std::getenv("SUBLET_COMPARE_PAIRS");
  return wanted == nullptr ? usual : std::clamp(std::atoi(wanted), 1, usual);
}

struct Plan {
  int pairs = 40;
  int warmup = 64;
  int calls_per_sample = 64;  ///< Between two looks at the clock.
  std::chrono::milliseconds batch{4};
};

/// The p50 of one batch in us. `side` has begin(), one() and end().
template <class Side>
double batch(Side& side, const Plan& plan) {
  side.begin();
  for (int i = 0; i < plan.warmup; ++i) side.one();
  std::vector<double> samples;
  const auto start = Clock::now();
  do {
    const auto before = Clock::now();
    for (int i = 0; i < plan.calls_per_sample; ++i) side.one();
    samples.push_back(microseconds_of(Clock::now() - before) / plan.calls_per_sample);
  } while (Clock::now() - start < plan.batch);
  side.end();
  return median(std::move(samples));
}

struct Row {
  const char* name;
  const char* peer;
  std::vector<double> ours;
  std::vector<double> others;
  bool is_speed_up = false;  ///< The ratio is how many times as fast ours is.

  void add(double our, double other) {
    ours.push_back(our);
    others.push_back(other);
  }

  /// One line of JSON on standard output.
  void print(const char* mpi, const char* path) const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      ratios.push_back(is_speed_up ? others[i] / ours[i] : ours[i] / others[i]);
    }
    std::printf(
        "{\"name\":\"%s\",\"ours_p50_us\":%.4f,\"peer\":\"%s\",\"peer_p50_us\":%.4f,"
        "\"ratio_p50\":%.4f,\"pairs\":%zu,\"mpi\":\"%s\",\"request_path\":\"%s\"}\n",
        name, median(ours), peer, median(others), median(std::move(ratios)), ours.size(), mpi,
        path);
    std::fflush(stdout);
  }
};

template <class Ours, class Other>
void compare(Row row, Ours& ours, Other& other, const Plan& plan, const char* mpi,
             const char* path) {
  for (int i = 0; i < pairs_of(plan.pairs); ++i) {
    const double our = batch(ours, plan);
    row.add(our, batch(other, plan));
  }
  row.print(mpi, path);
}

}  // namespace sublet::mpi::bench
