#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <chrono>
#include <string>

namespace sublet::cli {

/// Tells the service manager that has started this daemon (systemd, Type=notify) how it does: a
/// datagram each to $NOTIFY_SOCKET, as sd_notify(3) describes. Says nothing where there is none.
///
/// Owner: the daemon; on its loop's thread. Takes the variables out of the environment, so that
/// nothing which the daemon starts speaks in its name.
class ServiceNotifier {
 public:
  ServiceNotifier();

  void ready();
  void reloading();
  /// It ends, and may take so long.
  void stopping(std::chrono::milliseconds most);

  /// Tells the watchdog, twice in its time, that the event loop runs. Never resolves; ready at once
  /// where there is no watchdog.
  kj::Promise<void> keep_watchdog(kj::Timer& timer);

 private:
  void send(const std::string& text);

  std::string socket_;  ///< "@NAME" is an abstract one; empty: nobody listens.
  std::chrono::microseconds watchdog_{0};
  bool failed_ = false;
};

}  // namespace sublet::cli
