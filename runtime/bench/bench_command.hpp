#pragma once

#include <string>
#include <vector>

namespace sublet::bench {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  ///< It could not be measured; the text says why.
inline constexpr int kExitUsage = 2;   ///< An option, file or core is wrong; nothing was started.

/// `sublet bench WORDS...`: the table to standard output, JSON to the file that was named. Returns
/// the exit code. Call it while the process has one thread: the baselines fork.
int bench_command(const std::vector<std::string>& words);

}  // namespace sublet::bench
