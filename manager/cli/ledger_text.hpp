#pragma once

#include <sublet/result.hpp>
#include <wire/ledger_page.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace sublet::cli {

/// "2026-12-01", "2026-12-01T14:30", "2026-12-01T14:30:05" of the local time zone, or "@" and Unix
/// seconds; in Unix milliseconds.
Result<std::int64_t> parse_time(const std::string& text);

/// What `sublet ledger` prints: a table for people, with the sum of all rows as its last one; CSV
/// for programs, with all digits. (JSON: common/ledger_views.)
std::string ledger_table(wire::LedgerGrouping grouping, std::span<const wire::LedgerRow> rows);
std::string ledger_csv(wire::LedgerGrouping grouping, std::span<const wire::LedgerRow> rows);

}  // namespace sublet::cli
