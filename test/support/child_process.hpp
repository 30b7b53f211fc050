#pragma once

#include "eventually.hpp"

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::test {

/// A program that a test has started. Killed and reaped with this object, and by the kernel when
/// the test's thread that started it dies.
class ChildProcess {
 public:
  struct Options {
    std::vector<std::string>
        environment;     ///< Beside this process's own: NAME=value, or NAME: unset.
    std::string output;  ///< File that takes stdout and stderr; empty: shared.
    std::vector<std::pair<int, int>> fds;  ///< Of ours, and the numbers they get there (from 3).
  };

  /// argv[0] is the path of the program. Throws std::system_error.
  ChildProcess(const std::vector<std::string>& argv, const Options& options);
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;

  /// Its wait status; nothing when it still runs after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit);

 private:
  pid_t pid_ = -1;  ///< -1 once it has been reaped.
};

/// The program NAME of this build: beside the test's own program.
std::string built_program(const std::string& name);

}  // namespace sublet::test
