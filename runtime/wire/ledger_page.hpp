#pragma once

// What can be asked of a resource manager's ledger, and what it answers.

#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <wire/control.capnp.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sublet::wire {

/// Which grants are asked for: those that fit all that is set.
struct LedgerFilter {
  LedgerGrouping grouping = LedgerGrouping::GRANTS;
  std::string user;  ///< A name, or a uid in decimal; empty: all.
  std::uint32_t job = 0;
  std::uint64_t lease_id = 0;
  std::string node;  ///< Its name.
  /// Grants that began from the one time on and before the other; 0: no bound.
  std::int64_t since_unix_ms = 0;
  std::int64_t until_unix_ms = 0;
  std::int64_t after = 0;  ///< `next` of the page before; 0: from the first row on.
  /// What who asks may see. Not on the wire.
  std::optional<std::uint32_t> only_uid{};
};

/// One grant, or all those of one user, job, lease or node together.
struct LedgerRow {
  std::uint32_t uid = 0;
  std::string user;
  std::uint32_t job = 0;
  std::uint64_t lease_id = 0;
  std::uint32_t part = 0;
  std::string node;
  std::uint64_t grants = 0;
  std::uint64_t open = 0;    ///< Of these: not ended.
  std::uint64_t unsure = 0;  ///< Of these: ended without a last word of their node's.
  std::uint32_t cores = 0;   ///< Of one grant.
  std::uint64_t memory_bytes = 0;
  std::int64_t begin_unix_ms = 0;
  std::int64_t end_unix_ms = 0;  ///< 0 when one is open.
  std::string end;               ///< Of one grant: how it is known that it ended.
  std::string reason;
  std::uint32_t gpus = 0;  ///< Of one grant.
  std::uint64_t core_ms = 0;
  std::uint64_t gpu_ms = 0;
  sublet::Usage usage;  ///< `core_ms` and `gpu_ms` are exact.
  double memory_byte_seconds = 0;
  double cost = 0;
};

struct LedgerPage {
  std::vector<LedgerRow> rows;
  std::int64_t next = 0;  ///< 0: there is no more.
};

struct LedgerCheck {
  std::uint64_t grants = 0;  ///< That were looked at.
  std::uint64_t found = 0;
  std::vector<std::string> problems;  ///< The first of those that were found.
};

void write(LedgerQuery::Builder to, const LedgerFilter& filter);
/// kInvalid names what is no value.
Result<LedgerFilter> read(LedgerQuery::Reader from);
void write(LedgerEntry::Builder to, const LedgerRow& row);
LedgerRow read(LedgerEntry::Reader from);

/// "grants", "users", ...; the words of --by are without the s.
[[nodiscard]] const char* to_string(LedgerGrouping grouping) noexcept;

}  // namespace sublet::wire
