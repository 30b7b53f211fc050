// The ledger when the disk is full, the file is damaged, newer or another's, and when it is cut off
// between any two commits.

#include "ledger_fixture.hpp"

#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// While it lives, no file of this process may grow beyond `bytes`.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit lowered{bytes, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &lowered), 0);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  rlimit before_{};
  sighandler_t handler_;
};

class LedgerFaultsTest : public LedgerTest {
 protected:
  /// Grants of one core each.
  void grant(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t lease = first; lease <= last; ++lease) {
      const GrantTerms given = terms(lease);
      ledger_->granted({given, on_});
    }
  }
  /// The file as the versions before this one have left it.
  void to_version_2() {
    for (const char* const column :
         {"nodes DROP COLUMN gpus", "prices DROP COLUMN gpu_hour", "ledger DROP COLUMN gpus",
          "ledger DROP COLUMN node_gpus", "ledger DROP COLUMN gpu_ms",
          "grants DROP COLUMN gpus_per_worker"}) {
      run_sql(("ALTER TABLE " + std::string(column)).c_str());
    }
    run_sql("PRAGMA user_version = 2");
  }
  void to_version_1() {
    to_version_2();
    run_sql("ALTER TABLE grants DROP COLUMN notice_ms");
    run_sql("ALTER TABLE grants DROP COLUMN priority");
    run_sql("DROP INDEX ledger_by_end");
    run_sql("DROP TABLE quotas");
    run_sql("PRAGMA user_version = 1");
  }
  void run_sql(const char* sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database);
    sqlite3_close(database);
  }
  [[nodiscard]] std::string content() const { return bytes_of(file()); }

  /// Opens the ledger, writes commit after commit, and tells of each lease once it is kept.
  [[noreturn]] void write_until_killed(int round, int told) {
    auto io = kj::setupAsyncIo();
    auto ledger = Ledger::open(directory(), {}, io.provider->getTimer(), [this] { return now_; });
    if (!ledger) ::_exit(1);
    for (std::uint64_t lease = first_of(round);; ++lease) {
      const GrantTerms given = terms(lease);
      const GrantTerms other = terms(lease, 1, 1);
      (*ledger)->granted({given, on_});
      (*ledger)->granted({other, on_});
      if (!(*ledger)->keep().wait(io.waitScope)) ::_exit(2);
      (*ledger)->ended({given, on_}, used(1, 10ms), {.how = GrantEnd::kReported});
      if (::write(told, &lease, sizeof(lease)) != sizeof(lease)) ::_exit(3);
    }
  }
  static std::uint64_t first_of(int round) { return static_cast<std::uint64_t>(round) * 100'000; }

  const NodeOffer on_ = node("n1", 100'000);
};

TEST_F(LedgerFaultsTest, AFullDiskStopsLeasingAndLosesNothing) {
  open();
  grant(1, 10);
  ASSERT_TRUE(keep());
  {
    const FileLimit limit(fs::file_size(file() + "-wal"));
    grant(11, 400);
    const auto failed = keep();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().kind(), ErrorKind::kOverloaded);
    EXPECT_NE(std::string(failed.error().what()).find("make room"), std::string::npos)
        << failed.error().what();
    const auto ready = ledger_->ready();
    ASSERT_FALSE(ready);
    EXPECT_NE(std::string(ready.error().what()).find("make room"), std::string::npos);
    EXPECT_LT(ledger_->kept(), ledger_->told());
    // What runs goes on, and is remembered.
    const GrantTerms ending = terms(3);
    ledger_->ended({ending, on_}, used(1, 7s), {.how = GrantEnd::kReported});
    EXPECT_FALSE(keep());
    EXPECT_EQ(rows().size(), 10u) << "reading goes on";
  }
  // It tries again by itself.
  while (!ledger_->ready()) {
    now_ += 1s;
    io_.provider->getTimer().afterDelay(20 * kj::MILLISECONDS).wait(scope_);
  }
  ASSERT_TRUE(keep());
  EXPECT_EQ(ledger_->kept(), ledger_->told());
  const auto all = rows();
  ASSERT_EQ(all.size(), 400u);
  EXPECT_EQ(all[2].core_ms, 7000u);
  EXPECT_EQ(all[2].open, 0u);
  EXPECT_EQ(check().problems, std::vector<std::string>{});
}

TEST_F(LedgerFaultsTest, RefusesANewerVersionAndChangesNothing) {
  open();
  grant(1, 3);
  ASSERT_TRUE(keep());
  ledger_ = nullptr;
  run_sql("PRAGMA user_version = 99");
  const std::string before = content();
  const auto refused = try_open();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(refused.error().what()).find("version 99"), std::string::npos)
      << refused.error().what();
  EXPECT_EQ(content(), before);
}

TEST_F(LedgerFaultsTest, BringsAnOlderFileUpToDate) {
  open();
  grant(1, 3);
  ASSERT_TRUE(keep());
  ledger_ = nullptr;
  to_version_1();
  open();
  EXPECT_EQ(rows().size(), 3u);
  EXPECT_EQ(ledger_->take_open().size(), 3u);
  const wire::LeaseQuota quota{7, {}};
  ledger_->quota_set(1000, &quota);
  ASSERT_TRUE(keep());
  open();
  EXPECT_EQ(ledger_->take_quotas().size(), 1u);
}

TEST_F(LedgerFaultsTest, BringsAFileWithoutGpusUpToDate) {
  open();
  grant(1, 3);
  ASSERT_TRUE(keep());
  ledger_ = nullptr;
  to_version_2();
  open({.gpu_hour = 2});
  const auto all = rows();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].gpus, 0u);
  EXPECT_EQ(all[0].gpu_ms, 0u);
  const auto grants = ledger_->take_open();
  ASSERT_EQ(grants.size(), 3u);
  EXPECT_EQ(grants[0].terms.gpus_per_worker, 0u);
  EXPECT_TRUE(grants[0].node.gpus.empty());
  EXPECT_EQ(check().problems, std::vector<std::string>{});
}

TEST_F(LedgerFaultsTest, RefusesAnotherProgramsFile) {
  open();
  ledger_ = nullptr;
  run_sql("PRAGMA application_id = 1");
  const auto refused = try_open();
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("another program's"), std::string::npos);
}

TEST_F(LedgerFaultsTest, RefusesADamagedFileAndKeepsIt) {
  open();
  grant(1, 2000);
  ASSERT_TRUE(keep());
  ledger_ = nullptr;
  {
    std::fstream out(file(), std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(fs::file_size(file()) / 2));
    out << std::string(20'000, '\xA5');
  }
  const std::string before = content();
  auto refused = try_open();
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("restore a backup"), std::string::npos)
      << refused.error().what();
  EXPECT_EQ(content(), before);
  std::ofstream(file(), std::ios::binary | std::ios::trunc) << std::string(100'000, 'x');
  refused = try_open();
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("restore a backup"), std::string::npos)
      << refused.error().what();
}

TEST_F(LedgerFaultsTest, TheSecondManagerIsRefusedWithTheFirstOnesProcess) {
  open();
  const auto second = try_open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(second.error().what()).find("process " + std::to_string(::getpid())),
            std::string::npos)
      << second.error().what();
  grant(1, 1);
  EXPECT_TRUE(keep()) << "the first one goes on";
}

TEST_F(LedgerFaultsTest, ADirectoryOfOthersIsRefused) {
  fs::create_directory(directory());
  fs::permissions(directory(), fs::perms::all);
  EXPECT_FALSE(try_open());
}

/// As a power failure leaves the log: cut after a commit, within it, and within the one after it.
TEST_F(LedgerFaultsTest, WhereverTheLogIsCutWholeCommitsAreThere) {
  open();
  std::vector<std::size_t> ends;
  for (std::uint64_t lease = 1; lease <= 8; ++lease) {
    const GrantTerms given = terms(lease);
    const GrantTerms other = terms(lease, 1, 1);
    ledger_->granted({given, on_});
    ledger_->granted({other, on_});
    if (lease > 1) {
      const GrantTerms before = terms(lease - 1);
      ledger_->ended({before, on_}, used(1, 10ms), {.how = GrantEnd::kReported});
    }
    ASSERT_TRUE(keep());
    ends.push_back(fs::file_size(file() + "-wal"));
  }
  const std::string pages = content();
  const std::string log = bytes_of(file() + "-wal");
  for (std::size_t commit = 1; commit <= ends.size(); ++commit) {
    for (const int beyond : {-1, 0, 1500}) {
      SCOPED_TRACE("cut " + std::to_string(beyond) + " bytes after commit " +
                   std::to_string(commit));
      const std::string cut = temporary_.path() + "/cut";
      fs::remove_all(cut);
      fs::create_directory(cut);
      fs::permissions(cut, fs::perms::owner_all);
      std::ofstream(cut + "/ledger.db", std::ios::binary) << pages;
      std::ofstream(cut + "/ledger.db-wal", std::ios::binary) << log.substr(
          0, static_cast<std::size_t>(static_cast<std::ptrdiff_t>(ends[commit - 1]) + beyond));
      auto opened = Ledger::open(cut, {}, io_.provider->getTimer(), [this] { return now_; });
      ASSERT_TRUE(opened) << opened.error().what();
      const std::size_t whole = beyond < 0 ? commit - 1 : commit;
      const auto page = (*opened)->read({}).wait(scope_).value_or_throw();
      EXPECT_EQ(page.rows.size(), 2 * whole);
      std::size_t ended = 0;
      for (const auto& row : page.rows) ended += row.open == 0 ? 1 : 0;
      EXPECT_EQ(ended, whole == 0 ? 0 : whole - 1);
      EXPECT_EQ((*opened)->take_open().size(), 2 * whole - ended);
      EXPECT_EQ((*opened)->verify().wait(scope_).value_or_throw().problems,
                std::vector<std::string>{});
    }
  }
}

/// Kills a writer at each of its commits: what it had said to be on disk is there, whole, and
/// nothing else of what came after is there in part.
TEST_F(LedgerFaultsTest, NothingKeptIsLostWhereverItIsKilled) {
  constexpr int kRounds = 12;
  for (int round = 1; round <= kRounds; ++round) {
    int told[2];
    ASSERT_EQ(::pipe(told), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      // A thread of its own: this one has an event loop.
      std::thread([&] { write_until_killed(round, told[1]); }).join();
    }
    ::close(told[1]);
    std::uint64_t last = 0;
    for (int heard = 0; heard < round; ++heard) {
      ASSERT_EQ(::read(told[0], &last, sizeof(last)), static_cast<ssize_t>(sizeof(last)));
    }
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    std::uint64_t later = 0;
    while (::read(told[0], &later, sizeof(later)) == static_cast<ssize_t>(sizeof(later)))
      last = later;
    ::close(told[0]);

    open();
    wire::LedgerFilter filter;
    filter.grouping = wire::LedgerGrouping::LEASES;
    std::uint64_t found = 0;
    for (const auto& row : rows(filter)) {
      EXPECT_EQ(row.grants, 2u) << "half a commit";
      if (row.lease_id >= first_of(round)) ++found;
    }
    EXPECT_GE(found, last - first_of(round) + 1);
    EXPECT_EQ(check().problems, std::vector<std::string>{});
    ledger_ = nullptr;
  }
}

}  // namespace
}  // namespace sublet::manager
