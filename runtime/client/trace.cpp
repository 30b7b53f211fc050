#include <client/trace.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iterator>
#include <string_view>

namespace sublet::client {
namespace {

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// Maps ticks to microseconds of CLOCK_MONOTONIC, so that the ranks of one node line up.
class Timebase {
 public:
  Timebase() : tick_(base::ticks()) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    us_ = static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
  }
  [[nodiscard]] double us(base::Ticks t) const {
    const auto difference = static_cast<double>(static_cast<std::int64_t>(t - tick_));
    return us_ + difference / base::TickRate::get().ticks_per_ns() / 1e3;
  }

 private:
  base::Ticks tick_;
  double us_ = 0;
};

class Writer {
 public:
  Writer(const TraceBuffer& buffer, int pid) : buffer_(buffer), pid_(pid) {}

  void name_rows(const std::string& process) {
    meta("process_name", caller(), process);
    meta("thread_name", caller(), process);
    for (std::size_t i = 0; i < buffer_.workers.size(); ++i) {
      meta("thread_name", row(static_cast<std::uint32_t>(i)), buffer_.workers[i]);
    }
  }

  /// The invocations of one worker, sorted by when they started.
  void worker_row(const std::vector<TraceEvent>& events) {
    base::Ticks free_from = 0;
    for (std::size_t i = 0; i < events.size(); ++i) {
      const base::Ticks next = i + 1 < events.size() ? events[i + 1].started : ~base::Ticks{0};
      invocation(events[i], free_from, next);
    }
  }

  /// Where at least one call was under way.
  void caller_row(std::vector<TraceEvent> events) {
    std::sort(events.begin(), events.end(),
              [](const auto& a, const auto& b) { return a.submitted < b.submitted; });
    for (std::size_t i = 0; i < events.size();) {
      const base::Ticks begin = events[i].submitted;
      base::Ticks end = events[i].collected;
      std::size_t calls = 0;
      for (; i < events.size() && events[i].submitted <= end; ++i, ++calls) {
        end = std::max(end, events[i].collected);
      }
      slice(caller(), "calls under way", begin, end,
            fmt::format(",\"args\":{{\"calls\":{}}}", calls));
    }
  }

  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void invocation(const TraceEvent& event, base::Ticks& free_from, base::Ticks next) {
    const std::string_view function = event.function < buffer_.functions.size()
                                          ? std::string_view(buffer_.functions[event.function])
                                          : std::string_view("?");
    const base::Ticks begin = std::max(event.submitted, free_from);
    const base::Ticks end = std::max(begin, std::min(event.collected, std::max(next, event.ended)));
    const base::Ticks started = std::clamp(event.started, begin, end);
    const base::Ticks ended = std::clamp(event.ended, started, end);
    free_from = end;
    const std::uint64_t tid = row(event.worker);
    slice(tid, function, begin, end,
          fmt::format(
              R"(,"args":{{"status":{},"queue_us":{:.3f},"compute_us":{:.3f},"return_us":{:.3f}}})",
              json_string(to_string(event.status)), length(event.submitted, event.started),
              length(event.started, event.ended), length(event.ended, event.collected)));
    slice(tid, "queue", begin, started, "");
    slice(tid, "compute", started, ended, "");
    slice(tid, "return", ended, end, "");
  }

  [[nodiscard]] double length(base::Ticks begin, base::Ticks end) const {
    return std::max(0.0, time_.us(end) - time_.us(begin));
  }
  [[nodiscard]] std::uint64_t caller() const { return buffer_.lease_id * 4096; }
  [[nodiscard]] std::uint64_t row(std::uint32_t worker) const {
    return buffer_.lease_id * 4096 + worker + 1;
  }
  void separate() {
    if (!out_.empty()) out_ += ",\n";
  }
  void meta(std::string_view kind, std::uint64_t tid, const std::string& name) {
    separate();
    fmt::format_to(std::back_inserter(out_),
                   R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":{}}}}})", kind, pid_,
                   tid, json_string(name));
  }
  void slice(std::uint64_t tid, std::string_view name, base::Ticks begin, base::Ticks end,
             const std::string& extra) {
    separate();
    fmt::format_to(std::back_inserter(out_),
                   R"({{"ph":"X","name":{},"pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f}{}}})",
                   json_string(name), pid_, tid, time_.us(begin), time_.us(end) - time_.us(begin),
                   extra);
  }

  const TraceBuffer& buffer_;
  int pid_;
  Timebase time_;
  std::string out_;
};

}  // namespace

std::string to_chrome_events(const TraceBuffer& buffer, const std::string& process, int pid) {
  Writer writer(buffer, pid);
  writer.name_rows(process);
  writer.caller_row(buffer.events());
  std::vector<std::vector<TraceEvent>> by_worker(buffer.workers.size());
  for (TraceEvent event : buffer.events()) {
    if (event.worker >= by_worker.size()) continue;
    if (event.started == 0) event.started = event.ended = event.submitted;
    by_worker[event.worker].push_back(event);
  }
  for (auto& events : by_worker) {
    std::sort(events.begin(), events.end(),
              [](const auto& a, const auto& b) { return a.started < b.started; });
    writer.worker_row(events);
  }
  return writer.take();
}

}  // namespace sublet::client
