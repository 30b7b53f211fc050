#include <base/fd.hpp>
#include <base/log.hpp>
#include <base/system_text.hpp>
#include <cli/service_notifier.hpp>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace sublet::cli {
namespace {

/// The variable's value, which nobody finds afterwards.
std::string take_variable(const char* name) {
  const char* const value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  ::unsetenv(name);
  return text;
}

std::int64_t number_in(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

std::string monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::to_string(std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000);
}

}  // namespace

ServiceNotifier::ServiceNotifier() : socket_(take_variable("NOTIFY_SOCKET")) {
  const std::int64_t period = number_in(take_variable("WATCHDOG_USEC"));
  const std::string pid = take_variable("WATCHDOG_PID");
  const bool ours = pid.empty() || number_in(pid) == ::getpid();
  if (period > 0 && ours) watchdog_ = std::chrono::microseconds(period);
}

void ServiceNotifier::ready() {
  send("READY=1");
}

void ServiceNotifier::reloading() {
  send("RELOADING=1\nMONOTONIC_USEC=" + monotonic_us());
}

void ServiceNotifier::stopping(std::chrono::milliseconds most) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(most);
  send("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + std::to_string(us.count()));
}

kj::Promise<void> ServiceNotifier::keep_watchdog(kj::Timer& timer) {
  if (socket_.empty() || watchdog_.count() == 0) return kj::READY_NOW;
  return timer.afterDelay(watchdog_.count() / 2 * kj::MICROSECONDS).then([this, &timer] {
    send("WATCHDOG=1");
    return keep_watchdog(timer);
  });
}

void ServiceNotifier::send(const std::string& text) {
  if (socket_.empty()) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  int error = ENAMETOOLONG;
  if (socket_.size() < sizeof address.sun_path) {
    std::memcpy(address.sun_path, socket_.data(), socket_.size());
    if (socket_.front() == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
    const base::Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const ssize_t sent = fd.valid() ? ::sendto(fd.get(), text.data(), text.size(), MSG_NOSIGNAL,
                                               reinterpret_cast<const sockaddr*>(&address), size)
                                    : -1;
    error = sent < 0 ? errno : 0;
  }
  if (error != 0 && !failed_) {
    base::log().warn("telling the service manager at {} (NOTIFY_SOCKET): {}", socket_,
                     base::system_text(error));
  }
  failed_ = error != 0;
}

}  // namespace sublet::cli
