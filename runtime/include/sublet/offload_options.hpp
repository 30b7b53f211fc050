#pragma once

#include <sublet/call.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace sublet {

/// How a loop is shared out.
struct OffloadOptions {
  /// Of the calls; `idempotent` counts as false: what is lost is this thread's to share out anew.
  /// With a timeout a worker that has stopped cannot hold up the end of the loop for longer.
  FunctionOptions function{};
  /// Items that go together at least: as many as make a body worth being called.
  std::size_t least_items = 1;
  /// False: all is left to the workers, whatever it costs.
  bool computes_here = true;
};

/// Who did what of a loop.
struct OffloadReport {
  std::uint64_t here = 0;        ///< Items this thread computed.
  std::uint64_t on_workers = 0;  ///< Items workers computed.
  std::uint64_t again = 0;       ///< Of both: items whose call was lost, or overtaken at the end.
  std::uint64_t calls = 0;
  /// Offloading did not pay, and at the end of the loop was given up, or had not begun.
  bool stopped = false;
  std::string why{};  ///< What was measured when it was given up last, if only for a while.
};

}  // namespace sublet
