// `sublet bench ledger`: what it costs a lease to be on disk, beside a bare SQLite commit there.

#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/async.hpp>

#include <bench/report.hpp>
#include <bench/statistics.hpp>
#include <boost/program_options.hpp>
#include <fcntl.h>
#include <kj/async-io.h>
#include <ledger/ledger.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
using CommitClock = std::chrono::steady_clock;

constexpr std::uint32_t kMostClients = 10'000;
/// Bare commits and grants take turns, so that both meet the same disk.
constexpr unsigned kTurns = 20;

}  // namespace

CommandLine ledger_bench_command_line() {
  CommandLine line;
  line.name = "bench ledger";
  line.arguments = "[OPTIONS]";
  line.about =
      "Measures how long a grant takes to be on disk, in a ledger of its own: for one client, and "
      "for\n"
      "many at one time, whose grants share commits. Beside each, in the same seconds, one row in "
      "one\n"
      "bare SQLite commit on the same disk (WAL, synchronous = FULL).";
  line.options.add_options()("clients", po::value<std::string>()->default_value("1,64"),
                             "how many ask at one time; several separated by commas")(
      "seconds", po::value<std::uint32_t>()->default_value(4), "for each number of clients")(
      "dir", po::value<std::string>()->default_value("/var/tmp"),
      "measure on this directory's file system")(
      "json", po::value<std::string>()->default_value(""),
      "write the figures to this file; - for standard output in place of the table");
  return line;
}

namespace {

/// Removed with all that is in it.
class Scratch {
 public:
  static Result<Scratch> make(const std::string& parent) {
    std::string path = parent + "/sublet-bench-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      return fail(ErrorKind::kInvalid,
                  "no directory can be made in " + parent + "; name another one by --dir");
    }
    return Scratch(path);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

double us_since(CommitClock::time_point begin) {
  return std::chrono::duration<double, std::micro>(CommitClock::now() - begin).count();
}

/// One row in one commit, with nothing of Sublet's around it.
class BareCommits {
 public:
  explicit BareCommits(const std::string& path) : database_(make(path)) {}

  void run(CommitClock::time_point until) {
    while (CommitClock::now() < until) {
      const auto begin = CommitClock::now();
      begin_.run();
      insert_.bind(++rows_)
          .bind(std::int64_t{42})
          .bind(std::string_view("a row of a few bytes"))
          .run();
      commit_.run();
      samples_.push_back(us_since(begin));
    }
  }
  [[nodiscard]] const std::vector<double>& samples() const { return samples_; }

 private:
  static manager::Database make(const std::string& path) {
    ::close(::open(path.c_str(), O_CREAT | O_CLOEXEC | O_RDWR, 0600));
    manager::Database database(path, manager::Database::Access::kWrite);
    database.run(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
        "CREATE TABLE rows (id INTEGER PRIMARY KEY, number INTEGER, text TEXT)");
    return database;
  }

  manager::Database database_;
  manager::Statement begin_{database_, "BEGIN IMMEDIATE"};
  manager::Statement insert_{database_, "INSERT INTO rows VALUES (?, ?, ?)"};
  manager::Statement commit_{database_, "COMMIT"};
  std::int64_t rows_ = 0;
  std::vector<double> samples_;
};

/// Clients that each have a lease granted, wait until it is on disk, and give it back.
class DurableGrants {
 public:
  DurableGrants(manager::Ledger& ledger, std::uint32_t clients) : ledger_(ledger), terms_(clients) {
    node_.name = "bench";
    node_.node_id = "boot/bench";
    node_.cores = clients;
    node_.memory_bytes = std::uint64_t{1} << 40;
    for (manager::GrantTerms& terms : terms_) {
      terms.workers = 1;
      terms.memory_bytes = std::uint64_t{256} << 20;
      terms.owner = "bench@bench";
    }
  }

  void run(kj::WaitScope& scope, CommitClock::time_point until) {
    const auto begin = CommitClock::now();
    until_ = until;
    auto all = kj::heapArrayBuilder<kj::Promise<void>>(terms_.size());
    for (manager::GrantTerms& terms : terms_) all.add(next(terms));
    kj::joinPromises(all.finish()).wait(scope);
    us_ += us_since(begin);
  }
  [[nodiscard]] const std::vector<double>& samples() const { return samples_; }
  [[nodiscard]] double per_second() const {
    return static_cast<double>(samples_.size()) * 1e6 / us_;
  }

 private:
  kj::Promise<void> next(manager::GrantTerms& terms) {
    const auto begin = CommitClock::now();
    if (begin >= until_) return kj::READY_NOW;
    terms.key.lease = manager::LeaseId{++lease_};
    ledger_.granted({terms, node_});
    return ledger_.keep().then([this, &terms, begin](Result<void>&& done) -> kj::Promise<void> {
      if (!done) return KJ_EXCEPTION(FAILED, kj::str(done.error().what()));
      samples_.push_back(us_since(begin));
      ledger_.ended({terms, node_}, Usage{}, {});
      return next(terms);
    });
  }

  manager::Ledger& ledger_;
  manager::NodeOffer node_;
  std::vector<manager::GrantTerms> terms_;
  CommitClock::time_point until_{};
  double us_ = 0;
  std::vector<double> samples_;
  static inline std::uint64_t lease_ = 0;
};

struct CommitRow {
  std::uint32_t clients = 0;
  bench::Spread commit;
  bench::Spread bare;
  double grants_per_s = 0;

  [[nodiscard]] double ratio() const { return commit.p50 / bare.p50; }
  /// How often faster than a commit for each grant.
  [[nodiscard]] double times_one_each() const { return grants_per_s * bare.p50 / 1e6; }
};

CommitRow measure_commits(manager::Ledger& ledger, BareCommits& bare, std::uint32_t clients,
                          std::chrono::seconds time, kj::WaitScope& scope) {
  DurableGrants grants(ledger, clients);
  const std::size_t before = bare.samples().size();
  const auto turn = std::chrono::duration_cast<CommitClock::duration>(time) / (2 * kTurns);
  for (unsigned i = 0; i < kTurns; ++i) {
    bare.run(CommitClock::now() + turn);
    grants.run(scope, CommitClock::now() + turn);
  }
  CommitRow row;
  row.clients = clients;
  row.commit = bench::spread_of(grants.samples());
  row.bare = bench::spread_of(
      {bare.samples().begin() + static_cast<std::ptrdiff_t>(before), bare.samples().end()});
  row.grants_per_s = grants.per_second();
  return row;
}

std::string decimal(double value, int places) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", places, value);
  return text.data();
}

std::string commits_table(const std::vector<CommitRow>& rows) {
  std::vector<std::vector<std::string>> cells = {
      {"CLIENTS", "COMMIT p50 us", "p99 us", "BARE p50 us", "RATIO", "GRANTS/s", "TIMES ONE EACH"}};
  for (const CommitRow& row : rows) {
    cells.push_back({std::to_string(row.clients), decimal(row.commit.p50, 1),
                     decimal(row.commit.p99, 1), decimal(row.bare.p50, 1), decimal(row.ratio(), 2),
                     decimal(row.grants_per_s, 0), decimal(row.times_one_each(), 1)});
  }
  return format_table(std::move(cells));
}

std::string commits_json(const std::vector<CommitRow>& rows, const std::string& directory) {
  auto values = nlohmann::json::array();
  for (const CommitRow& row : rows) {
    values.push_back({{"clients", row.clients},
                      {"commit_p50_us", row.commit.p50},
                      {"commit_p99_us", row.commit.p99},
                      {"bare_commit_p50_us", row.bare.p50},
                      {"ratio_p50", row.ratio()},
                      {"grants_per_s", row.grants_per_s},
                      {"times_one_commit_each", row.times_one_each()}});
  }
  return nlohmann::json{{"benchmark", "ledger"}, {"directory", directory}, {"rows", values}}.dump(
             2) +
         "\n";
}

Result<void> run_ledger_bench(const po::variables_map& values) {
  const auto clients = parse_numbers("clients", values["clients"].as<std::string>(), kMostClients);
  if (!clients) return tl::unexpected<Error>(clients.error());
  const auto& json = values["json"].as<std::string>();
  auto file = bench::JsonFile::open(json);
  if (!file) return tl::unexpected<Error>(file.error());
  const auto& parent = values["dir"].as<std::string>();
  const auto scratch = Scratch::make(parent);
  if (!scratch) return tl::unexpected<Error>(scratch.error());
  auto io = kj::setupAsyncIo();
  const manager::ManagerClock clock;
  auto ledger = manager::Ledger::open(scratch->path() + "/state", {}, io.provider->getTimer(),
                                      [&clock] { return clock.now(); });
  if (!ledger) return tl::unexpected<Error>(ledger.error());
  BareCommits bare(scratch->path() + "/bare.db");
  std::vector<CommitRow> rows;
  try {
    for (const std::uint32_t number : *clients) {
      rows.push_back(measure_commits(**ledger, bare, number,
                                     std::chrono::seconds(values["seconds"].as<std::uint32_t>()),
                                     io.waitScope));
    }
  } catch (const kj::Exception& exception) {
    return fail(ErrorKind::kInternal, manager::text_of(exception));
  }
  const std::string text = commits_json(rows, parent);
  std::cout << (json == "-" ? text : commits_table(rows));
  return file->write(text);
}

}  // namespace

int ledger_bench_command(const std::vector<std::string>& words) {
  return run_command(ledger_bench_command_line(), words, run_ledger_bench);
}

}  // namespace sublet::cli
