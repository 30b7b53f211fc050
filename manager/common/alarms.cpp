#include <base/descriptor_limit.hpp>
#include <base/log.hpp>
#include <base/system_text.hpp>
#include <common/alarms.hpp>

#include <sys/statvfs.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace sublet::manager {
namespace {

constexpr kj::Duration kLook = 10 * kj::SECONDS;
/// Of the descriptors: connections have a share of their own below this, see ServedConnections.
constexpr double kDescriptors = 0.9;
/// A ledger grows by some hundred bytes with each grant.
constexpr std::uint64_t kFreeBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

}  // namespace

kj::Promise<void> Alarms::watch(kj::Timer& timer) {
  look();
  return timer.afterDelay(kLook).then([this, &timer] { return watch(timer); });
}

void Alarms::look() {
  std::vector<Alarm> now;
  now.reserve(looks_.size());
  for (const Look& each : looks_) now.push_back(each());
  for (std::size_t i = 0; i < now.size(); ++i) {
    const bool before = i < alarms_.size() && alarms_[i].raised;
    if (now[i].raised && !before) base::log().warn("alarm, {}: {}", now[i].name, now[i].text);
    if (!now[i].raised && before) base::log().info("no alarm any more, {}", now[i].name);
  }
  alarms_ = std::move(now);
}

Alarm descriptors_alarm() {
  const auto open = static_cast<double>(base::open_descriptors());
  const auto limit = static_cast<double>(base::descriptor_limit());
  Alarm alarm{"descriptors", open >= kDescriptors * limit, {}, open, kDescriptors * limit};
  alarm.text = std::to_string(static_cast<std::uint64_t>(open)) + " of " +
               std::to_string(static_cast<std::uint64_t>(limit)) +
               " that this process may have are open: start it with a higher 'ulimit -Hn' "
               "(LimitNOFILE= of its unit)";
  return alarm;
}

Alarm size_alarm(const std::string& name, std::uint64_t bytes, std::uint64_t limit,
                 const std::string& advice) {
  return {
      name, bytes >= limit,
      std::to_string(bytes / kMiB) + " MiB of " + std::to_string(limit / kMiB) + " MiB: " + advice,
      static_cast<double>(bytes), static_cast<double>(limit)};
}

Alarm disk_alarm(const std::string& path) {
  Alarm alarm{"disk", true, {}, 0, static_cast<double>(kFreeBytes)};
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) {
    alarm.text = "looking at the file system of " + path + ": " + base::system_text(errno) +
                 "; see whether its directory is still there";
    return alarm;
  }
  std::error_code ignored;
  const auto size = std::filesystem::file_size(path, ignored);
  const std::uint64_t free = std::uint64_t{info.f_bavail} * info.f_frsize;
  alarm.value = static_cast<double>(free);
  alarm.raised = free < kFreeBytes;
  alarm.text = std::to_string(free / kMiB) + " MiB are free where " + path + " (" +
               std::to_string(ignored ? 0 : size / kMiB) +
               " MiB) is: make room, or leases are refused once it is full";
  return alarm;
}

}  // namespace sublet::manager
