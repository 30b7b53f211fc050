#pragma once

#include <bench/single_source.hpp>

namespace sublet::bench {

/// The argument with which the program does nothing: fork+exec+wait of it is what a cold start is
/// compared with.
inline constexpr const char* kEndAtOnce = "--end-at-once";

/// Call it while the process has one thread.
Result<SingleSourceReport> measure_single_source(const SingleSourceOptions& options,
                                                 Progress& progress);

}  // namespace sublet::bench
