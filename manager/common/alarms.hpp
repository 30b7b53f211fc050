#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace sublet::manager {

/// Something that an operator should see to before it costs a lease.
struct Alarm {
  std::string name;  ///< Of a few: "descriptors", "listener tcp:0.0.0.0:7700", "database", "disk".
  bool raised = false;
  std::string text;  ///< What was found, and what to do.
  double value = 0;  ///< As measured,
  double limit = 0;  ///< and where it is raised; 0: there is no such number.
};

/// What a daemon looks at again and again; the log says when an alarm is raised and when it is
/// over.
///
/// Owner: the daemon's command; the event loop's thread only. What is looked at outlives it.
class Alarms {
 public:
  /// One look takes microseconds.
  using Look = std::function<Alarm()>;

  void add(Look look) { looks_.push_back(std::move(look)); }

  /// Looks now and then, forever.
  kj::Promise<void> watch(kj::Timer& timer);
  /// Looks at all now.
  void look();
  /// As last looked at.
  [[nodiscard]] std::span<const Alarm> all() const { return alarms_; }

 private:
  std::vector<Look> looks_;
  std::vector<Alarm> alarms_;
};

/// How many descriptors this process has open beside how many it may have.
[[nodiscard]] Alarm descriptors_alarm();
/// `bytes` beside `limit`, for instance of a cache.
[[nodiscard]] Alarm size_alarm(const std::string& name, std::uint64_t bytes, std::uint64_t limit,
                               const std::string& advice);
/// What is free on the file system of `path`, beside how large the file is.
[[nodiscard]] Alarm disk_alarm(const std::string& path);

}  // namespace sublet::manager
