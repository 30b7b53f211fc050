#pragma once

#include <resource_manager/resource_manager_service.hpp>

#include <kj/async-io.h>
#include <kj/timer.h>
#include <web/load_history.hpp>
#include <web/viewer.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace sublet::manager::web {

// clang-format off
/// Server-sent events for open pages.
///
/// PROTOCOL  `overview` when a stream begins and whenever nodes or leases have changed; `history` when a
///           stream begins, and each new point; `tick` every second. What they hold: page_data.hpp.
///           The next second begins when what was written has been taken: who reads slowly gets fewer
///           events, never old ones, and none is queued.
/// LIMITS    kMaxStreams, kStreamLimit; what is written, PacedStream's.
// clang-format on
/// Owner: the web server; on its thread.
class EventFeed {
 public:
  EventFeed(kj::Timer& timer, ResourceManagerService& service, const LoadHistory& history)
      : timer_(timer), service_(service), history_(history) {}

  /// Resolves when the stream's time is over; the end of the connection ends it too.
  kj::Promise<void> run(kj::Own<kj::AsyncOutputStream> to, Viewer viewer);

 private:
  using Text = std::shared_ptr<const std::string>;
  struct Stream;
  struct Made {
    Text text;
    Time at{};
  };

  kj::Promise<void> next(Stream& stream);
  /// Made once for all who see the same; the same object as long as nothing has changed.
  Text overview(const Viewer& viewer);

  kj::Timer& timer_;
  ResourceManagerService& service_;
  const LoadHistory& history_;
  std::map<std::uint64_t, Made> overviews_;  ///< By Viewer::key().
};

}  // namespace sublet::manager::web
