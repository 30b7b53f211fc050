#pragma once

#include <resource_manager/lease_book.hpp>

#include <cstdint>
#include <deque>
#include <string>

namespace sublet::manager::web {

/// How busy the cluster has been: every second of the last ten, and every ten seconds of the last
/// hour. No clock, no I/O.
///
/// Owner: the web server, which calls note() once a second; on its thread.
class LoadHistory {
 public:
  static constexpr std::int64_t kStepMs = 10'000;
  static constexpr std::size_t kPoints = 360;

  struct Rates {
    double calls_per_s = 0;
    double busy_cores = 0;    ///< That compute, on average.
    double mean_call_ns = 0;  ///< That functions took; 0: there were no calls.
    double median_call_ns = 0;
    double p99_call_ns = 0;
  };
  struct Point {
    std::int64_t at_ms = 0;
    std::uint64_t cores = 0;  ///< Of nodes that are up or draining.
    std::uint64_t held = 0;   ///< Of these: in leases.
    Rates rates;              ///< Since the point before.
  };

  void note(const LeaseBook& book, Time now);

  /// Over the last ten seconds, or as long as this has run.
  [[nodiscard]] Rates rates() const;
  [[nodiscard]] const std::deque<Point>& points() const { return points_; }
  /// {"step_ms": ..., "points": [[at_ms, cores, held, calls_per_s, busy_cores, mean_call_ns],
  /// ...]}, those after `after_ms`.
  [[nodiscard]] std::string to_json(std::int64_t after_ms = 0) const;

 private:
  struct Sum {
    std::int64_t at_ms = 0;
    std::uint64_t invocations = 0;
    std::uint64_t compute_ns = 0;
    wire::CallTimes call_times;
  };
  static Rates between(const Sum& from, const Sum& to);

  std::deque<Sum> seconds_;
  std::deque<Point> points_;
  Sum last_point_;
};

}  // namespace sublet::manager::web
