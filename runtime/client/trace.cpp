#include <client/trace.hpp>

#include <fmt/format.h>

#include <algorithm>
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

class Writer {
 public:
  Writer(const TraceBuffer& buffer, int pid) : buffer_(buffer), pid_(pid), time_(buffer.opened) {}

  void name_rows(const std::string& process) {
    meta("process_name", caller(), process);
    meta("thread_name", caller(), process);
    for (std::size_t i = 0; i < buffer_.workers.size(); ++i) {
      meta("thread_name", row(static_cast<std::uint32_t>(i)), buffer_.workers[i]);
    }
  }
  /// How well times of processes on this node can be compared.
  void say_clock() {
    separate();
    fmt::format_to(
        std::back_inserter(out_),
        R"({{"ph":"M","name":"clock","pid":{},"tid":{},"args":{{"clock":"CLOCK_MONOTONIC","error_us":{:.3f}}}}})",
        pid_, caller(), time_.error_us());
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
    arrow("request", caller(), time_.us(event.submitted), tid, time_.us(started));
    arrow("reply", tid, before(ended, started), caller(), before(event.collected, event.submitted));
  }

  /// The last moment of what ends then: viewers do not count a slice's end as part of it.
  [[nodiscard]] double before(base::Ticks end, base::Ticks begin) const {
    return std::max(time_.us(begin), time_.us(end) - kMoment);
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

  /// From what lies around `from_us` in one row to what lies around `to_us` in another.
  void arrow(std::string_view name, std::uint64_t from, double from_us, std::uint64_t to,
             double to_us) {
    const std::string id = fmt::format("{}.{}.{}", pid_, buffer_.lease_id, arrows_++);
    arrow_end('s', name, id, from, from_us, "");
    arrow_end('f', name, id, to, std::max(from_us, to_us), R"(,"bp":"e")");
  }
  void arrow_end(char kind, std::string_view name, const std::string& id, std::uint64_t tid,
                 double us, std::string_view extra) {
    separate();
    fmt::format_to(
        std::back_inserter(out_),
        R"({{"ph":"{}","name":"{}","cat":"call","id":"{}","pid":{},"tid":{},"ts":{:.3f}{}}})", kind,
        name, id, pid_, tid, us, extra);
  }

  static constexpr double kMoment = 0.001;  ///< What times are rounded to, us.

  const TraceBuffer& buffer_;
  int pid_;
  base::ClockAlignment time_;
  std::uint64_t arrows_ = 0;
  std::string out_;
};

}  // namespace

std::string to_chrome_events(const TraceBuffer& buffer, const std::string& process, int pid) {
  Writer writer(buffer, pid);
  writer.name_rows(process);
  writer.say_clock();
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
