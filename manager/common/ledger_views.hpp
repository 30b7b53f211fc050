#pragma once

#include <wire/ledger_page.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace sublet::manager {

/// All rows together; sums that do not fit stay at the greatest number.
wire::LedgerRow ledger_sum(std::span<const wire::LedgerRow> rows);

/// {"by": "users", "ledger": [...], "total": {...}}, with all digits: what `sublet ledger` prints
/// as JSON. With `next` also that: where the next page begins, or null after the last one.
std::string ledger_json(wire::LedgerGrouping grouping, std::span<const wire::LedgerRow> rows,
                        std::optional<std::int64_t> next = {});

}  // namespace sublet::manager
