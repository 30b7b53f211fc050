#include <resource_manager/lease_observer.hpp>

#include <ledger/database.hpp>
#include <ledger/ledger_check.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <utility>

namespace sublet::manager {
namespace {

constexpr std::size_t kMaxProblems = 100;  ///< That are told.
/// Ends and begins of different grants are known from different messages: so much later or earlier.
constexpr std::int64_t kMessageMs = 100;
/// What was held last is heard later than it was measured.
constexpr std::int64_t kReportMs = 1000;

class Problems {
 public:
  explicit Problems(wire::LedgerCheck& check) : check_(check) {}
  void add(const std::string& text) {
    ++check_.found;
    if (check_.problems.size() < kMaxProblems) check_.problems.push_back(text);
  }

 private:
  wire::LedgerCheck& check_;
};

void check_file(Database& database, Problems& problems) {
  Statement pages(database, "PRAGMA quick_check(10)");
  while (pages.next()) {
    if (pages.text(0) != "ok") problems.add("damaged: " + pages.text(0));
  }
  Statement references(database, "PRAGMA foreign_key_check");
  while (references.next()) {
    problems.add("row " + std::to_string(references.number(1)) + " of table " + references.text(0) +
                 " names a row of " + references.text(2) + " that is not there");
  }
}

void check_gaps(Database& database, Problems& problems) {
  Statement rows(database,
                 "SELECT ledger.lease, ledger.part, ledger.end_ms IS NULL FROM ledger LEFT JOIN "
                 "grants ON grants.entry = ledger.id "
                 "WHERE (ledger.end_ms IS NULL) != (grants.entry IS NOT NULL)");
  while (rows.next()) {
    problems.add(
        "lease " + std::to_string(rows.number(0)) + " part " + std::to_string(rows.number(1)) +
        (rows.number(2) != 0 ? " is open without terms: it would not be found after a restart"
                             : " has ended and still has terms"));
  }
}

/// A row of the ledger, as the sums and overlaps need it.
struct Held {
  std::int64_t node = 0, lease = 0, part = 0, cores = 0, node_cores = 0;
  std::int64_t gpus = 0, node_gpus = 0;
  std::int64_t begin = 0, end = 0, core_ms = 0, gpu_ms = 0;
  bool open = false;
  bool reported = false;

  /// As far as is known: that the node of one did not hold it any more may have been noticed late,
  /// and that it held it, too.
  [[nodiscard]] std::int64_t held_until() const {
    return reported || open || cores <= 0 ? end : std::min(end, begin + core_ms / cores);
  }
  [[nodiscard]] std::string name() const {
    return "lease " + std::to_string(lease) + " part " + std::to_string(part);
  }
};

void check_sum(const Held& row, Problems& problems) {
  if (row.cores <= 0 || row.core_ms < 0 || row.end < row.begin || row.core_ms % row.cores != 0) {
    problems.add(row.name() + " is no entry: " + std::to_string(row.core_ms) + " ms of " +
                 std::to_string(row.cores) + " cores from " + std::to_string(row.begin) + " to " +
                 std::to_string(row.end));
    return;
  }
  const std::int64_t held = row.core_ms / row.cores;
  if (row.gpu_ms != held * row.gpus) {
    problems.add(row.name() + " has held " + std::to_string(row.gpus) + " GPUs for " +
                 std::to_string(held) + " ms, and is said to have used " +
                 std::to_string(row.gpu_ms) + " ms of them");
  }
  const std::int64_t time = row.end - row.begin;
  if (row.reported ? held != time : held > time + kReportMs) {
    problems.add(row.name() + " is said to have been held for " + std::to_string(held) +
                 " ms, and there are " + std::to_string(time) + " ms from its begin to its end");
  }
}

/// The grants of one node that are held at one time, as the rows come in the order of their begins.
class Overlaps {
 public:
  explicit Overlaps(Problems& problems) : problems_(problems) {}

  void add(const Held& row) {
    if (std::exchange(node_, row.node) != row.node) held_.clear();
    std::int64_t cores = row.cores;
    std::int64_t most = row.node_cores;
    std::int64_t gpus = row.gpus;
    std::int64_t most_gpus = row.node_gpus;
    for (auto it = held_.begin(); it != held_.end();) {
      if (it->first <= row.begin + kMessageMs) {
        it = held_.erase(it);
        continue;
      }
      cores += it->second.cores;
      most = std::max(most, it->second.node_cores);
      gpus += it->second.gpus;
      most_gpus = std::max(most_gpus, it->second.node_gpus);
      ++it;
    }
    check(row, "cores", {row.cores, cores, most});
    check(row, "GPUs", {row.gpus, gpus, most_gpus});
    held_.emplace(row.held_until(), row);
  }

 private:
  struct Sum {
    std::int64_t own = 0, all = 0, most = 0;
  };
  void check(const Held& row, const std::string& what, const Sum& sum) {
    if (sum.all <= sum.most || sum.own == 0) return;
    std::string text = row.name() + " has " + std::to_string(sum.own) + " " + what +
                       " of a node of " + std::to_string(sum.most) +
                       " at a time when others have " + std::to_string(sum.all - sum.own) +
                       " there";
    if (!held_.empty()) text += ", " + held_.begin()->second.name() + " among them";
    problems_.add(text);
  }

  Problems& problems_;
  std::int64_t node_ = 0;
  std::multimap<std::int64_t, Held> held_;  ///< By their ends.
};

void check_rows(Database& database, wire::LedgerCheck& check, Problems& problems) {
  const std::int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  Statement rows(
      database,
      "SELECT node, lease, part, cores, node_cores, begin_ms, end_ms, core_ms, how, gpus, "
      "node_gpus, gpu_ms FROM ledger ORDER BY node, begin_ms");
  Overlaps overlaps(problems);
  while (rows.next()) {
    Held row;
    row.node = rows.number(0);
    row.lease = rows.number(1);
    row.part = rows.number(2);
    row.cores = rows.number(3);
    row.node_cores = rows.number(4);
    row.begin = rows.number(5);
    row.open = rows.is_null(6);
    row.end = row.open ? std::max(now, row.begin) : rows.number(6);
    row.core_ms = rows.number(7);
    row.gpus = rows.number(9);
    row.node_gpus = rows.number(10);
    row.gpu_ms = rows.number(11);
    row.reported = !row.open && rows.number(8) == static_cast<std::int64_t>(GrantEnd::kReported);
    ++check.grants;
    check_sum(row, problems);
    overlaps.add(row);
  }
}

}  // namespace

Result<wire::LedgerCheck> check_ledger(const std::string& path) {
  try {
    wire::LedgerCheck check;
    Problems problems(check);
    Database database(path, Database::Access::kRead);
    check_file(database, problems);
    if (check.found > 0) return check;  // what would be read is not what was written
    database.run("BEGIN");              // all of it at one time
    check_gaps(database, problems);
    check_rows(database, check, problems);
    database.run("COMMIT");
    return check;
  } catch (const Error& error) {
    return tl::unexpected<Error>(error);
  }
}

}  // namespace sublet::manager
