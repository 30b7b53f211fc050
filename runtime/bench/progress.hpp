#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace sublet::bench {

/// A line on stderr that says how far a run is: only when stderr is a terminal, only once the run
/// has taken a second, and gone when it is over.
class Progress {
 public:
  Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// `done` of `total` steps of the part called `what`. Call it between batches, never in one.
  void show(const std::string& what, std::size_t done, std::size_t total);
  /// Removes the line until the next show().
  void clear();

 private:
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace sublet::bench
