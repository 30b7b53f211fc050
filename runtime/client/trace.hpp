#pragma once

#include <base/clock_anchor.hpp>
#include <sublet/status.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sublet::client {

/// One invocation, as its caller saw it. Times in ticks of the caller's node.
struct TraceEvent {
  base::Ticks submitted = 0;
  base::Ticks started = 0;  ///< 0: not known.
  base::Ticks ended = 0;
  base::Ticks collected = 0;
  std::uint32_t worker = 0;
  std::uint16_t function = 0;
  Status status = Status::kOk;
};

/// What one lease recorded. Filled by the thread that uses the lease; memory is taken beforehand,
/// and events beyond it are counted, not kept.
class TraceBuffer {
 public:
  static constexpr std::size_t kMaxEvents = std::size_t{1} << 17;

  explicit TraceBuffer(std::size_t capacity = kMaxEvents) { events_.reserve(capacity); }

  void add(const TraceEvent& event) noexcept {
    if (events_.size() < events_.capacity()) {
      events_.push_back(event);
    } else {
      ++dropped_;
    }
  }

  std::vector<std::string> workers;    ///< Row names, by worker index.
  std::vector<std::string> functions;  ///< By function index.
  std::uint64_t lease_id = 0;
  const base::ClockAnchor opened = base::ClockAnchor::take();  ///< Before any event.

  [[nodiscard]] const std::vector<TraceEvent>& events() const noexcept { return events_; }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  std::vector<TraceEvent> events_;
  std::uint64_t dropped_ = 0;
};

/// Chrome trace events
/// (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): a
/// comma-separated list of JSON objects. One row for the caller, with a slice wherever calls were
/// under way, and one row for each worker: a slice per invocation with its queue, compute and
/// return parts nested in it, with arrows (flow events) from the caller to the worker and back.
/// Where invocations overlap, slices are clipped so that they nest, and the arguments carry the
/// whole times. Times are those of CLOCK_MONOTONIC on the caller's node; the metadata event "clock"
/// says how far off they may be.
std::string to_chrome_events(const TraceBuffer& buffer, const std::string& process, int pid);

}  // namespace sublet::client
