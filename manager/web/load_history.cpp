#include <web/load_history.hpp>

#include <array>
#include <cstdio>
#include <utility>

namespace sublet::manager::web {
namespace {

constexpr std::size_t kSeconds = 11;  ///< The ends of ten.

void append_point(std::string& to, const LoadHistory::Point& point) {
  std::array<char, 192> text{};
  std::snprintf(text.data(), text.size(), "[%lld,%llu,%llu,%.1f,%.2f,%.0f]",
                static_cast<long long>(point.at_ms), static_cast<unsigned long long>(point.cores),
                static_cast<unsigned long long>(point.held), point.rates.calls_per_s,
                point.rates.busy_cores, point.rates.mean_call_ns);
  to += text.data();
}

}  // namespace

LoadHistory::Rates LoadHistory::between(const Sum& from, const Sum& to) {
  Rates rates;
  const auto ms = static_cast<double>(to.at_ms - from.at_ms);
  if (ms <= 0) return rates;
  const auto calls = static_cast<double>(to.invocations - from.invocations);
  const auto compute_ns = static_cast<double>(to.compute_ns - from.compute_ns);
  rates.calls_per_s = calls * 1000 / ms;
  rates.busy_cores = compute_ns / (ms * 1e6);
  if (calls > 0) rates.mean_call_ns = compute_ns / calls;
  const wire::CallTimes times = to.call_times.since(from.call_times);
  rates.median_call_ns = times.quantile_ns(0.5);
  rates.p99_call_ns = times.quantile_ns(0.99);
  return rates;
}

void LoadHistory::note(const LeaseBook& book, Time now) {
  const Usage& used = book.totals().used;
  const Sum sum{to_unix_ms(now), used.invocations, used.compute_ns, book.totals().call_times};
  if (!seconds_.empty() && sum.at_ms <= seconds_.back().at_ms) return;
  seconds_.push_back(sum);
  if (seconds_.size() > kSeconds) seconds_.pop_front();
  if (last_point_.at_ms != 0 && sum.at_ms - last_point_.at_ms < kStepMs) return;
  Point point;
  point.at_ms = sum.at_ms;
  for (const NodeTable::Load& load : book.nodes().loads()) {
    if (load.state == NodeTable::State::kLost) continue;
    point.cores += load.cores;
    point.held += load.used_cores;
  }
  if (last_point_.at_ms != 0) point.rates = between(last_point_, sum);
  last_point_ = sum;
  points_.push_back(point);
  if (points_.size() > kPoints) points_.pop_front();
}

LoadHistory::Rates LoadHistory::rates() const {
  if (seconds_.size() < 2) return {};
  return between(seconds_.front(), seconds_.back());
}

std::string LoadHistory::to_json(std::int64_t after_ms) const {
  std::string text = R"({"step_ms":)" + std::to_string(kStepMs) + R"(,"points":[)";
  bool first = true;
  for (const Point& point : points_) {
    if (point.at_ms <= after_ms) continue;
    if (!std::exchange(first, false)) text += ',';
    append_point(text, point);
  }
  return text + "]}";
}

}  // namespace sublet::manager::web
