#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/ledger_text.hpp>
#include <cli/run_command.hpp>
#include <common/ledger_views.hpp>
#include <common/manager_query.hpp>

#include <boost/program_options.hpp>

#include <charconv>
#include <iostream>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
using wire::LedgerGrouping;

/// What is kept here at one time.
constexpr std::size_t kMaxRows = 200'000;

}  // namespace

CommandLine ledger_command_line() {
  CommandLine line;
  line.name = "ledger";
  line.arguments = "[verify] [OPTIONS]";
  line.about =
      "Shows what leases have used, of a resource manager that keeps a ledger (--state-dir): each\n"
      "grant, or with --by the sums of each user, job, lease or node. A grant is one node's share "
      "of\n"
      "a lease; it counts for the time in which it began. `verify` checks the ledger against "
      "itself,\n"
      "and ends with 1 when something in it is wrong.";
  line.options.add_options()("action", po::value<std::string>()->default_value(""), "verify")(
      "user", po::value<std::string>()->default_value(""), "only this user's: a name or a uid")(
      "job", po::value<std::uint32_t>()->default_value(0), "only this Slurm job's")(
      "lease", po::value<std::uint64_t>()->default_value(0), "only this lease's")(
      "node", po::value<std::string>()->default_value(""), "only on the node of this name")(
      "since", po::value<std::string>()->default_value(""),
      "only grants that began then or later: 2026-12-01, 2026-12-01T14:30 (local time), @SECONDS")(
      "until", po::value<std::string>()->default_value(""), "only grants that began before then")(
      "by", po::value<std::string>()->default_value(""), "user, job, lease or node")(
      "output", po::value<std::string>()->default_value("table"),
      "table, or json or csv for programs");
  line.positional = "action";
  line.choices = {{"action", {"verify"}},
                  {"by", {"user", "job", "lease", "node"}},
                  {"output", {"table", "json", "csv"}}};
  add_manager_options(line);
  return line;
}

namespace {

Result<LedgerGrouping> read_grouping(const std::string& by) {
  if (by.empty()) return LedgerGrouping::GRANTS;
  if (by == "user") return LedgerGrouping::USERS;
  if (by == "job") return LedgerGrouping::JOBS;
  if (by == "lease") return LedgerGrouping::LEASES;
  if (by == "node") return LedgerGrouping::NODES;
  return fail(ErrorKind::kInvalid, "--by is '" + by + "'; it must be user, job, lease or node");
}

Result<std::int64_t> read_time(const Values& values, const char* option) {
  const auto& text = values[option].as<std::string>();
  if (text.empty()) return 0;
  const auto time = parse_time(text);
  if (time) return *time;
  return fail(ErrorKind::kInvalid, std::string("--") + option + ": " + time.error().what());
}

Result<wire::LedgerFilter> read_filter(const Values& values) {
  wire::LedgerFilter filter;
  const auto grouping = read_grouping(values["by"].as<std::string>());
  if (!grouping) return tl::unexpected<Error>(grouping.error());
  const auto since = read_time(values, "since");
  if (!since) return tl::unexpected<Error>(since.error());
  const auto until = read_time(values, "until");
  if (!until) return tl::unexpected<Error>(until.error());
  filter.grouping = *grouping;
  filter.user = values["user"].as<std::string>();
  filter.job = values["job"].as<std::uint32_t>();
  filter.lease_id = values["lease"].as<std::uint64_t>();
  filter.node = values["node"].as<std::string>();
  filter.since_unix_ms = *since;
  filter.until_unix_ms = *until;
  return filter;
}

Result<std::vector<wire::LedgerRow>> ask_rows(const ManagerTarget& target,
                                              wire::LedgerFilter filter) {
  std::vector<wire::LedgerRow> rows;
  do {
    auto page = manager::query_ledger(target.location, filter, target.timeout);
    if (!page) return tl::unexpected<Error>(page.error());
    for (wire::LedgerRow& row : page->rows) rows.push_back(std::move(row));
    if (rows.size() > kMaxRows) {
      return fail(ErrorKind::kInvalid,
                  "there are more than " + std::to_string(kMaxRows) +
                      " rows; narrow them down by --since and --until, or sum them up by --by");
    }
    filter.after = page->next;
  } while (filter.after != 0);
  return rows;
}

Result<int> show(const Values& values) {
  const auto filter = read_filter(values);
  if (!filter) return tl::unexpected<Error>(filter.error());
  const auto& output = values["output"].as<std::string>();
  if (output != "table" && output != "json" && output != "csv") {
    return fail(ErrorKind::kInvalid, "--output is '" + output + "'; it must be table, json or csv");
  }
  const auto rows = ask_manager(
      values, [&filter](const ManagerTarget& target) { return ask_rows(target, *filter); });
  if (!rows) return tl::unexpected<Error>(rows.error());
  if (output == "json") {
    std::cout << manager::ledger_json(filter->grouping, *rows) << "\n";
  } else {
    std::cout << (output == "csv" ? ledger_csv(filter->grouping, *rows)
                                  : ledger_table(filter->grouping, *rows));
  }
  return kExitOk;
}

Result<int> verify(const Values& values) {
  const auto check = ask_manager(values, [](const ManagerTarget& target) {
    return manager::verify_ledger(target.location, target.timeout);
  });
  if (!check) return tl::unexpected<Error>(check.error());
  for (const std::string& problem : check->problems) std::cout << problem << "\n";
  if (check->found > check->problems.size()) {
    std::cout << "... and " << check->found - check->problems.size() << " more\n";
  }
  std::cout << check->grants << " grants checked, " << check->found << " problems found\n";
  return check->found == 0 ? kExitOk : kExitFailure;
}

}  // namespace

int ledger_command(const std::vector<std::string>& words) {
  return run_command_for_code(
      ledger_command_line(), words, [](const Values& values) -> Result<int> {
        const auto& action = values["action"].as<std::string>();
        if (action.empty()) return show(values);
        if (action == "verify") return verify(values);
        return fail(ErrorKind::kInvalid, "'" + action +
                                             "' is nothing that can be done with the ledger; "
                                             "`sublet ledger --help` says what can");
      });
}

}  // namespace sublet::cli
