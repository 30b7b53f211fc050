#include <common/auth/caller.hpp>
#include <common/ledger_views.hpp>

#include <nlohmann/json.hpp>

#include <limits>

namespace sublet::manager {
namespace {

using nlohmann::json;
using wire::LedgerGrouping;
using wire::LedgerRow;

std::uint64_t saturated_sum(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b
             ? std::numeric_limits<std::uint64_t>::max()
             : a + b;
}

json sums_of(const LedgerRow& row) {
  return {{"grants", row.grants},
          {"open", row.open},
          {"unsure", row.unsure},
          {"core_ms", row.core_ms},
          {"gpu_ms", row.gpu_ms},
          {"hot_poll_ns", row.usage.hot_poll_ns},
          {"compute_ns", row.usage.compute_ns},
          {"memory_byte_seconds", row.memory_byte_seconds},
          {"invocations", row.usage.invocations},
          {"bytes_in", row.usage.bytes_in},
          {"bytes_out", row.usage.bytes_out},
          {"cost", row.cost}};
}

json to_value(LedgerGrouping grouping, const LedgerRow& row) {
  json value = sums_of(row);
  value["begin_unix_ms"] = row.begin_unix_ms;
  value["end_unix_ms"] = row.end_unix_ms == 0 ? json() : json(row.end_unix_ms);
  const bool one = grouping == LedgerGrouping::GRANTS;
  const bool of_lease = one || grouping == LedgerGrouping::LEASES;
  if (grouping != LedgerGrouping::NODES) {
    value["user"] = row.user;
    value["uid"] = row.uid == kUnknownUid ? json() : json(row.uid);
  }
  if (of_lease || grouping == LedgerGrouping::JOBS) {
    value["job"] = row.job == 0 ? json() : json(row.job);
  }
  if (of_lease) value["lease"] = row.lease_id;
  if (one || grouping == LedgerGrouping::NODES) value["node"] = row.node;
  if (!one) return value;
  value["part"] = row.part;
  value["cores"] = row.cores;
  value["gpus"] = row.gpus;
  value["memory_bytes"] = row.memory_bytes;
  value["ended"] = row.open > 0 ? json() : json(row.end);
  value["reason"] = row.reason;
  return value;
}

}  // namespace

LedgerRow ledger_sum(std::span<const LedgerRow> rows) {
  LedgerRow sum;
  for (const LedgerRow& row : rows) {
    sum.grants += row.grants;
    sum.open += row.open;
    sum.unsure += row.unsure;
    sum.core_ms = saturated_sum(sum.core_ms, row.core_ms);
    sum.gpu_ms = saturated_sum(sum.gpu_ms, row.gpu_ms);
    sum.usage.hot_poll_ns = saturated_sum(sum.usage.hot_poll_ns, row.usage.hot_poll_ns);
    sum.usage.compute_ns = saturated_sum(sum.usage.compute_ns, row.usage.compute_ns);
    sum.usage.invocations = saturated_sum(sum.usage.invocations, row.usage.invocations);
    sum.usage.bytes_in = saturated_sum(sum.usage.bytes_in, row.usage.bytes_in);
    sum.usage.bytes_out = saturated_sum(sum.usage.bytes_out, row.usage.bytes_out);
    sum.memory_byte_seconds += row.memory_byte_seconds;
    sum.cost += row.cost;
  }
  return sum;
}

std::string ledger_json(LedgerGrouping grouping, std::span<const LedgerRow> rows,
                        std::optional<std::int64_t> next) {
  auto values = json::array();
  for (const LedgerRow& row : rows) values.push_back(to_value(grouping, row));
  json page = {{"by", wire::to_string(grouping)},
               {"ledger", std::move(values)},
               {"total", sums_of(ledger_sum(rows))}};
  if (next) page["next"] = *next == 0 ? json() : json(*next);
  return page.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace sublet::manager
