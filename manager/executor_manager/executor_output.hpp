#pragma once

#include <base/fd.hpp>

#include <kj/async-unix.h>
#include <kj/timer.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>

namespace sublet::manager {

/// Prints what the executors of a zygote print, on this process's standard output: line by line, as
/// text that can be shown. What looks like a line of the log is marked as theirs, and goes there,
/// so that no function writes the log as it likes. It is always read, so that nobody waits who
/// prints.
///
/// LIMITS  kMostLine bytes of a line; kMostLines of them in a second. The others are counted, and
///         those that standard output has no room for.
/// Owner: the executor manager, on its loop.
class ExecutorOutput {
 public:
  static constexpr std::size_t kMostLine = 1024;
  static constexpr unsigned kMostLines = 200;

  ExecutorOutput(kj::UnixEventPort& port, base::Fd pipe);
  KJ_DISALLOW_COPY(ExecutorOutput);

  /// The last one, of all that has been printed until now; to be shown.
  [[nodiscard]] std::string last_line();

 private:
  bool read_some();
  kj::Promise<void> read_on();
  void take(const char* text, std::size_t size);
  void tell();

  base::Fd pipe_;
  kj::UnixEventPort::FdObserver observer_;
  std::string line_;
  std::string last_line_;
  unsigned lines_ = 0;  ///< In this second.
  unsigned left_out_ = 0;
  std::chrono::steady_clock::time_point second_{};
  kj::Promise<void> reading_ = nullptr;
};

}  // namespace sublet::manager
