#include <resource_manager/lease_observer.hpp>

#include <ledger/database.hpp>
#include <ledger/ledger_reader.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>

namespace sublet::manager {
namespace {

using Grouping = wire::LedgerGrouping;

constexpr std::int64_t kPage = 1000;  ///< Rows.

/// The counters of the ledger, each summed in halves: SQLite refuses sums beyond 2^63.
constexpr std::array kCounters = {"core_ms",  "hot_poll_ns", "compute_ns", "calls",
                                  "bytes_in", "bytes_out",   "gpu_ms"};

/// An integer that each group has for itself, from 1 on: pages begin after one.
const char* key_of(Grouping grouping) {
  switch (grouping) {
    case Grouping::GRANTS:
      return "ledger.id";
    case Grouping::USERS:
      return "leases.user";
    case Grouping::JOBS:
      return "leases.slurm_job + 1";
    case Grouping::LEASES:
      return "ledger.lease";
    case Grouping::NODES:
      // A node has another id after each boot, and stays the same to people.
      return "(SELECT min(id) FROM nodes AS same WHERE same.name = nodes.name)";
  }
  return "ledger.id";
}

std::optional<std::int64_t> as_uid(const std::string& user) {
  std::uint32_t uid = 0;
  const auto [stop, error] = std::from_chars(user.data(), user.data() + user.size(), uid);
  if (error != std::errc() || stop != user.data() + user.size()) return std::nullopt;
  return uid;
}

std::string statement_for(const wire::LedgerFilter& filter) {
  const std::string key = key_of(filter.grouping);
  std::string sql = "SELECT " + key +
                    " AS key, min(users.uid), min(users.name), min(leases.slurm_job), "
                    "min(ledger.lease), min(ledger.part), min(nodes.name), count(*), "
                    "sum(end_ms IS NULL), sum(coalesce(how, 0) != 0), max(ledger.cores), "
                    "max(ledger.memory_bytes), min(begin_ms), max(end_ms), max(how), max(reason), "
                    "count(DISTINCT leases.user), max(ledger.gpus), "
                    "total(ledger.memory_bytes * (core_ms * 1.0 / ledger.cores)) / 1000, "
                    "total(core_hour * core_ms / 3.6e6 + gpu_hour * gpu_ms / 3.6e6 "
                    "+ memory_gib_hour * ledger.memory_bytes / 1073741824.0 "
                    "* (core_ms * 1.0 / ledger.cores) / 3.6e6 "
                    "+ hot_poll_hour * hot_poll_ns / 3.6e12 + compute_hour * compute_ns / 3.6e12)";
  for (const char* const counter : kCounters) {
    sql += std::string(", sum(") + counter + " >> 32), sum(" + counter + " & 4294967295)";
  }
  sql +=
      " FROM ledger JOIN leases ON leases.id = ledger.lease JOIN users ON users.id = leases.user "
      "JOIN nodes ON nodes.id = ledger.node JOIN prices ON prices.id = leases.price WHERE " +
      key + " > ?";
  if (!filter.user.empty())
    sql += as_uid(filter.user) ? " AND users.uid = ?" : " AND users.name = ?";
  if (filter.only_uid) sql += " AND users.uid = ?";
  if (filter.job != 0) sql += " AND leases.slurm_job = ? AND leases.slurm_job != 0";
  if (filter.lease_id != 0) sql += " AND ledger.lease = ?";
  if (!filter.node.empty()) sql += " AND nodes.name = ?";
  if (filter.since_unix_ms != 0) sql += " AND begin_ms >= ?";
  if (filter.until_unix_ms != 0) sql += " AND begin_ms < ?";
  return sql + " GROUP BY key ORDER BY key LIMIT " + std::to_string(kPage + 1);
}

void bind(Statement& statement, const wire::LedgerFilter& filter) {
  statement.bind(filter.after);
  if (!filter.user.empty()) {
    const auto uid = as_uid(filter.user);
    uid ? statement.bind(*uid) : statement.bind(filter.user);
  }
  if (filter.only_uid) statement.bind(std::int64_t{*filter.only_uid});
  if (filter.job != 0) statement.bind(std::int64_t{filter.job});
  if (filter.lease_id != 0) statement.bind(static_cast<std::int64_t>(filter.lease_id));
  if (!filter.node.empty()) statement.bind(filter.node);
  if (filter.since_unix_ms != 0) statement.bind(filter.since_unix_ms);
  if (filter.until_unix_ms != 0) statement.bind(filter.until_unix_ms);
}

/// The sum whose halves are in this column and the next.
std::uint64_t sum_at(const Statement& row, int column) {
  const auto high = static_cast<std::uint64_t>(row.number(column));
  const auto low = static_cast<std::uint64_t>(row.number(column + 1));
  const std::uint64_t upper = high + (low >> 32);
  if (upper >> 32 != 0) return std::numeric_limits<std::uint64_t>::max();
  return (upper << 32) | (low & 0xFFFFFFFF);
}

wire::LedgerRow read_row(const Statement& from, Grouping grouping) {
  wire::LedgerRow row;
  const bool one = grouping == Grouping::GRANTS;
  const bool of_lease = one || grouping == Grouping::LEASES;
  if (of_lease || grouping == Grouping::USERS || from.number(16) == 1) {
    row.uid = static_cast<std::uint32_t>(from.number(1));
    row.user = from.text(2);
  } else {
    row.uid = kUnknownUid;
  }
  if (of_lease || grouping == Grouping::JOBS) row.job = static_cast<std::uint32_t>(from.number(3));
  if (of_lease) row.lease_id = static_cast<std::uint64_t>(from.number(4));
  if (one) row.part = static_cast<std::uint32_t>(from.number(5));
  if (one || grouping == Grouping::NODES) row.node = from.text(6);
  row.grants = static_cast<std::uint64_t>(from.number(7));
  row.open = static_cast<std::uint64_t>(from.number(8));
  row.unsure = static_cast<std::uint64_t>(from.number(9));
  row.begin_unix_ms = from.number(12);
  if (row.open == 0) row.end_unix_ms = from.number(13);
  if (one) {
    row.cores = static_cast<std::uint32_t>(from.number(10));
    row.memory_bytes = static_cast<std::uint64_t>(from.number(11));
    row.gpus = static_cast<std::uint32_t>(from.number(17));
    if (!from.is_null(14)) row.end = to_string(static_cast<GrantEnd>(from.number(14)));
    row.reason = from.text(15);
  }
  row.memory_byte_seconds = from.real(18);
  row.cost = from.real(19);
  row.core_ms = sum_at(from, 20);
  row.usage.hot_poll_ns = sum_at(from, 22);
  row.usage.compute_ns = sum_at(from, 24);
  row.usage.invocations = sum_at(from, 26);
  row.usage.bytes_in = sum_at(from, 28);
  row.usage.bytes_out = sum_at(from, 30);
  row.gpu_ms = sum_at(from, 32);
  row.usage.core_seconds = static_cast<double>(row.core_ms) / 1000.0;
  row.usage.gpu_seconds = static_cast<double>(row.gpu_ms) / 1000.0;
  return row;
}

}  // namespace

Result<wire::LedgerPage> read_ledger(const std::string& path, const wire::LedgerFilter& filter) {
  try {
    Database database(path, Database::Access::kRead);
    Statement rows(database, statement_for(filter));
    bind(rows, filter);
    wire::LedgerPage page;
    std::int64_t last = 0;
    while (rows.next()) {
      if (page.rows.size() == static_cast<std::size_t>(kPage)) {
        page.next = last;
        break;
      }
      last = rows.number(0);
      page.rows.push_back(read_row(rows, filter.grouping));
    }
    return page;
  } catch (const Error& error) {
    return tl::unexpected<Error>(error);
  }
}

}  // namespace sublet::manager
