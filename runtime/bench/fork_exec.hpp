#pragma once

#include <base/helper_process.hpp>
#include <sublet/result.hpp>

#include <string>
#include <vector>

namespace sublet::bench {

/// Times fork+exec+wait of /bin/true, or of another program: the baseline of a cold start. A small
/// helper process does it, since a fork costs the more the more memory the forking process has
/// mapped.
///
/// Start it before the process has a second thread. Thread rule: the thread that started it.
class ForkExecTimer {
 public:
  static Result<ForkExecTimer> start();
  /// Of this program with these arguments, which end it at once.
  static Result<ForkExecTimer> start(const std::string& program,
                                     const std::vector<std::string>& arguments);

  /// Times `count` (at most kMaxForkExecs) of them, one after the other, in ns each.
  Result<std::vector<double>> run(unsigned count);

 private:
  base::HelperProcess helper_;
};

inline constexpr unsigned kMaxForkExecs = 64;

}  // namespace sublet::bench
