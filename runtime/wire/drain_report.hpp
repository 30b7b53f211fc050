#pragma once

// What became of a node that was told to drain, as managers tell it and commands show it.

#include <wire/control.capnp.h>

#include <cstdint>
#include <optional>
#include <string>

namespace sublet::wire {

/// What the node counted. It runs foreign code and may be another's: numbers for people.
struct DrainCounts {
  std::uint32_t in_order = 0;         ///< Leases that ended before the time was over.
  std::uint32_t cut_off = 0;          ///< That ended because it was.
  std::uint32_t unclaimed = 0;        ///< That no client had claimed.
  std::uint32_t broken = 0;           ///< Whose executor ended by itself without having drained.
  std::uint64_t calls_finished = 0;   ///< Since the node began to drain.
  std::uint64_t calls_cut_off = 0;    ///< That were running when the time was over.
  std::uint64_t workers_unknown = 0;  ///< Of which nobody knows whether a call was running then.
};

struct DrainReport {
  std::string node_id;
  DrainEnd end = DrainEnd::DRAINING;
  std::optional<DrainCounts> counts;  ///< Nothing when the node did not say.
  std::uint32_t leases_lost = 0;      ///< That were on a node that was lost.
};

void write(DrainTally::Builder to, const DrainCounts& counts);
DrainCounts read(DrainTally::Reader from);
void write(DrainedNode::Builder to, const DrainReport& report);
DrainReport read(DrainedNode::Reader from);

/// "left", "lost", ... as in the schema; "unknown" for one of a newer manager.
[[nodiscard]] const char* to_string(DrainEnd end) noexcept;

}  // namespace sublet::wire
