// The ledger on a real file: what is there after a restart, what is summed, and when it is on disk.

#include "ledger_fixture.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

TEST_F(LedgerTest, AGrantIsThereAfterARestart) {
  open();
  EXPECT_TRUE(ledger_->take_open().empty());
  GrantTerms given = terms(70, 2);
  given.cores_per_worker = 3;
  given.gpus_per_worker = 2;
  given.slurm_job = 4711;
  NodeOffer on = node("n1", 8);
  on.gpus = {{"GPU-a", "A 100", 80}, {"GPU-b", "", 0}, {"GPU-c", "x", 1}, {"GPU-d", "y", 2}};
  ledger_->numbered(LeaseId{70});
  ledger_->granted({given, on});
  ledger_->claimed({given, on});
  Usage usage = used(6, 2500ms, 9);
  usage.gpu_seconds = 10;
  ledger_->used({given, on}, usage);
  given.expires += 1h;
  ledger_->extended({given, on});
  ASSERT_TRUE(keep());

  open();
  EXPECT_GT(number(ledger_->unused_lease()), 70u);
  const auto found = ledger_->take_open();
  ASSERT_EQ(found.size(), 1u);
  const GrantTerms& back = found[0].terms;
  EXPECT_EQ(back.key.lease, given.key.lease);
  EXPECT_EQ(back.workers, 2u);
  EXPECT_EQ(back.cores_per_worker, 3u);
  EXPECT_EQ(back.gpus_per_worker, 2u);
  EXPECT_EQ(back.memory_bytes, given.memory_bytes);
  EXPECT_TRUE(same_token(back.token, given.token));
  EXPECT_EQ(back.expires, given.expires);
  EXPECT_EQ(back.owner, given.owner);
  EXPECT_EQ(back.owner_uid, given.owner_uid);
  EXPECT_EQ(back.slurm_job, 4711u);
  EXPECT_TRUE(back.claimed);
  EXPECT_EQ(found[0].node.node_id, on.node_id);
  EXPECT_EQ(found[0].node.addresses, on.addresses);
  EXPECT_EQ(found[0].node.cores, on.cores);
  EXPECT_EQ(found[0].node.gpus, on.gpus);
  EXPECT_EQ(found[0].usage.invocations, 9u);
  EXPECT_DOUBLE_EQ(found[0].usage.core_seconds, 15.0);
  EXPECT_DOUBLE_EQ(found[0].usage.gpu_seconds, 10.0);
}

TEST_F(LedgerTest, UsageReplacesWhatWasToldBefore) {
  open();
  const GrantTerms given = terms(1, 2);
  const NodeOffer on = node("n1");
  ledger_->granted({given, on});
  ledger_->used({given, on}, used(2, 1000ms, 3));
  ASSERT_TRUE(keep());
  ledger_->used({given, on}, used(2, 1500ms, 5));
  ASSERT_TRUE(keep());
  auto all = rows();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].core_ms, 3000u);
  EXPECT_EQ(all[0].usage.invocations, 5u);
  EXPECT_EQ(all[0].open, 1u);

  now_ += 2s;
  ledger_->ended({given, on}, used(2, 1999ms, 7), {.how = GrantEnd::kReported, .reason = "done"});
  ASSERT_TRUE(keep());
  all = rows();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].core_ms, 3998u);
  EXPECT_EQ(all[0].open, 0u);
  EXPECT_EQ(all[0].reason, "done");
  EXPECT_EQ(all[0].end_unix_ms - all[0].begin_unix_ms, 1999);
  EXPECT_EQ(check().problems, std::vector<std::string>{});
  open();
  EXPECT_TRUE(ledger_->take_open().empty());
}

TEST_F(LedgerTest, AnEndThatIsToldTwiceCountsOnce) {
  open();
  GrantTerms given = terms(1, 2);
  const NodeOffer on = node("n1");
  for (int time = 0; time < 2; ++time) {
    given.held_for = 5s + time * 3s;
    ledger_->granted({given, on});
    ledger_->claimed({given, on});
    ledger_->ended({given, on}, used(2, 5s, 4),
                   {.how = GrantEnd::kReported, .reason = "done", .ago = time * 3s});
    ASSERT_TRUE(keep());
    const auto all = rows();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].core_ms, 10'000u);
    EXPECT_EQ(all[0].begin_unix_ms, to_unix_ms(Time(1'800'000'000'000ms) - 5s));
    EXPECT_EQ(all[0].end_unix_ms, 1'800'000'000'000);
    EXPECT_EQ(check().found, 0u);
    now_ += 3s;
    open();
  }
}

TEST_F(LedgerTest, AGrantThatReturnsGoesOnInItsRow) {
  open();
  const GrantTerms given = terms(1);
  const NodeOffer on = node("n1");
  ledger_->granted({given, on});
  ledger_->claimed({given, on});
  ledger_->used({given, on}, used(1, 700ms, 2));
  now_ += 10s;
  // The book knows less of it than the ledger.
  ledger_->ended({given, on}, Usage{}, {.how = GrantEnd::kNodeLost});
  ASSERT_TRUE(keep());
  auto all = rows();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].core_ms, 700u) << "the last known usage stays";
  EXPECT_EQ(all[0].unsure, 1u);
  EXPECT_EQ(all[0].end, "node lost");
  open();
  EXPECT_TRUE(ledger_->take_open().empty());
  ledger_->granted({given, on});
  ASSERT_TRUE(keep());
  all = rows();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].open, 1u);
  EXPECT_EQ(all[0].unsure, 0u);
  EXPECT_EQ(all[0].core_ms, 700u);
  now_ += 10s;
  ledger_->ended({given, on}, used(1, 20s, 9), {.how = GrantEnd::kReported});
  ASSERT_TRUE(keep());
  all = rows();
  EXPECT_EQ(all[0].core_ms, 20'000u);
  EXPECT_EQ(all[0].unsure, 0u);
  EXPECT_EQ(check().problems, std::vector<std::string>{});
}

/// A resource manager that was killed with the end unwritten notices it from the node's next
/// registration, when the cores are another lease's.
TEST_F(LedgerTest, VerifyTakesAnEndThatIsNoticedLateForNoLeaseBesideTheNext) {
  open();
  const GrantTerms killed = terms(1, 4);
  const GrantTerms next = terms(2, 4);
  const NodeOffer on = node("n1", 4);
  ledger_->granted({killed, on});
  ledger_->used({killed, on}, used(4, 1000ms));
  now_ += 2s;
  ledger_->granted({next, on});
  now_ += 5s;
  ledger_->ended({killed, on}, Usage{}, {.how = GrantEnd::kNotHeld});
  ledger_->ended({next, on}, used(4, 5000ms), {.how = GrantEnd::kReported});
  keep().value_or_throw();
  const wire::LedgerCheck found = check();
  EXPECT_EQ(found.found, 0u) << found.problems.front();
  EXPECT_EQ(found.grants, 2u);
}

TEST_F(LedgerTest, SumsByUserJobLeaseAndNode) {
  open({.core_hour = 2, .memory_gib_hour = 1});
  const auto spend = [this](std::uint64_t lease, std::uint32_t part, const std::string& on,
                            std::uint32_t uid, std::uint32_t job) {
    GrantTerms given = terms(lease, 2, part);
    given.owner_uid = uid;
    given.owner = (uid == 1000 ? "alice@x" : "bob@y");
    given.slurm_job = job;
    const NodeOffer where = node(on);
    given.held_for = 1h;
    ledger_->granted({given, where});
    ledger_->ended({given, where}, used(2, 1h, 1), {.how = GrantEnd::kReported});
  };
  spend(1, 0, "n1", 1000, 5);
  spend(1, 1, "n2", 1000, 5);
  spend(2, 0, "n2", 1000, 0);
  spend(3, 0, "n3", 1001, 0);
  wire::LedgerFilter filter;
  filter.grouping = wire::LedgerGrouping::USERS;
  auto found = rows(filter);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].user, "alice");
  EXPECT_EQ(found[0].uid, 1000u);
  EXPECT_EQ(found[0].grants, 3u);
  EXPECT_EQ(found[0].core_ms, 3u * 2 * 3'600'000);
  EXPECT_DOUBLE_EQ(found[0].cost, 3 * (2 * 2.0 + 1 * 1.0));
  EXPECT_DOUBLE_EQ(found[0].memory_byte_seconds, 3 * 3600.0 * (1 << 30));
  EXPECT_EQ(found[1].user, "bob");
  filter.grouping = wire::LedgerGrouping::JOBS;
  found = rows(filter);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].job, 0u);
  EXPECT_EQ(found[0].grants, 2u);
  EXPECT_EQ(found[1].job, 5u);
  EXPECT_EQ(found[1].user, "alice");
  filter.grouping = wire::LedgerGrouping::LEASES;
  EXPECT_EQ(rows(filter).size(), 3u);
  filter.grouping = wire::LedgerGrouping::NODES;
  found = rows(filter);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[1].node, "n2");
  EXPECT_EQ(found[1].grants, 2u);

  filter = {};
  filter.user = "bob";
  ASSERT_EQ(rows(filter).size(), 1u);
  filter.user = "1000";
  EXPECT_EQ(rows(filter).size(), 3u);
  filter.only_uid = 1001;
  EXPECT_EQ(rows(filter).size(), 0u) << "what somebody else asks for";
  filter.only_uid = 1000;
  filter.node = "n2";
  EXPECT_EQ(rows(filter).size(), 2u);
  filter.job = 5;
  ASSERT_EQ(rows(filter).size(), 1u);
  EXPECT_EQ(rows(filter)[0].part, 1u);
  filter.until_unix_ms = to_unix_ms(now_ - 1h);
  EXPECT_EQ(rows(filter).size(), 0u);
  filter.since_unix_ms = to_unix_ms(now_ - 1h);
  filter.until_unix_ms = 0;
  EXPECT_EQ(rows(filter).size(), 1u);
}

TEST_F(LedgerTest, PricesAreThoseAtWhichALeaseWasGranted) {
  const NodeOffer on = node("n1");
  std::uint64_t lease = 0;
  for (const double price : {1.0, 3.0}) {
    open({.core_hour = price});
    const GrantTerms given = terms(++lease);
    ledger_->granted({given, on});
    ledger_->ended({given, on}, used(1, 1h), {.how = GrantEnd::kReported});
    ASSERT_TRUE(keep());
  }
  const auto all = rows();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_DOUBLE_EQ(all[0].cost, 1.0);
  EXPECT_DOUBLE_EQ(all[1].cost, 3.0);
}

TEST_F(LedgerTest, PricesChangeWhileItIsOpen) {
  const NodeOffer on = node("n1");
  open({.core_hour = 1});
  std::uint64_t lease = 0;
  const auto use_an_hour = [&] {
    const GrantTerms given = terms(++lease);
    ledger_->granted({given, on});
    ledger_->ended({given, on}, used(1, 1h), {.how = GrantEnd::kReported});
    ASSERT_TRUE(keep());
  };
  use_an_hour();
  ASSERT_TRUE(ledger_->set_prices({.core_hour = 3}).wait(scope_));
  use_an_hour();
  const auto all = rows();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_DOUBLE_EQ(all[0].cost, 1.0);
  EXPECT_DOUBLE_EQ(all[1].cost, 3.0);
}

TEST_F(LedgerTest, GivesPages) {
  open();
  constexpr std::uint64_t kGrants = 2500;
  const NodeOffer on = node("n1", kGrants);
  for (std::uint64_t lease = 1; lease <= kGrants; ++lease) {
    const GrantTerms given = terms(lease);
    ledger_->granted({given, on});
  }
  ASSERT_TRUE(keep());
  wire::LedgerFilter filter;
  std::uint64_t last = 0;
  int pages = 0;
  do {
    const auto page = ledger_->read(filter).wait(scope_).value_or_throw();
    for (const auto& row : page.rows) EXPECT_EQ(row.lease_id, ++last);
    filter.after = page.next;
    ++pages;
  } while (filter.after != 0);
  EXPECT_EQ(last, kGrants);
  EXPECT_EQ(pages, 3);
}

TEST_F(LedgerTest, SumsBeyondWhatSQLiteAdds) {
  open();
  const NodeOffer on = node("n1");
  Usage much;
  much.compute_ns = ~std::uint64_t{0};
  much.bytes_in = std::uint64_t{1} << 61;
  for (std::uint64_t lease = 1; lease <= 3; ++lease) {
    const GrantTerms given = terms(lease);
    ledger_->granted({given, on});
    ledger_->used({given, on}, much);
  }
  wire::LedgerFilter filter;
  filter.grouping = wire::LedgerGrouping::USERS;
  const auto found = rows(filter);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].usage.bytes_in, std::uint64_t{3} << 61);
  EXPECT_EQ(found[0].usage.compute_ns, ~std::uint64_t{0}) << "it stops at the largest number";
}

TEST_F(LedgerTest, ManyLeasesShareACommit) {
  open();
  const NodeOffer on = node("n1", 1000);
  const std::uint64_t before = ledger_->commits();
  auto kept = kj::heapArrayBuilder<kj::Promise<void>>(200);
  for (std::uint64_t lease = 1; lease <= 200; ++lease) {
    const GrantTerms given = terms(lease);
    ledger_->granted({given, on});
    kept.add(ledger_->keep().then([](Result<void>&& done) { EXPECT_TRUE(done); }));
  }
  EXPECT_EQ(ledger_->kept(), 0u) << "the loop has not run";
  kj::joinPromises(kept.finish()).wait(scope_);
  EXPECT_EQ(ledger_->kept(), ledger_->told());
  EXPECT_LE(ledger_->commits() - before, 2u);
}

TEST_F(LedgerTest, FilesAreThisUsersAlone) {
  open();
  const GrantTerms given = terms(1);
  const NodeOffer on = node("n1");
  ledger_->granted({given, on});
  ASSERT_TRUE(keep());
  const auto mode_of = [](const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 0777;
  };
  EXPECT_EQ(mode_of(directory()), 0700u);
  EXPECT_EQ(mode_of(file()), 0600u);
  EXPECT_EQ(mode_of(file() + "-wal"), 0600u);
}

/// Runs SQL in the ledger's file, as an operator with a shell may.
void run_sql(const std::string& path, const char* sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(database);
  sqlite3_close(database);
}

TEST_F(LedgerTest, VerifyFindsWhatIsWrong) {
  open();
  const NodeOffer on = node("n1", 4);
  for (std::uint64_t lease = 1; lease <= 3; ++lease) {
    const GrantTerms given = terms(lease, 2);
    ledger_->granted({given, on});
    now_ += 10s;
    ledger_->ended({given, on}, used(2, 10s), {.how = GrantEnd::kReported});
  }
  ASSERT_TRUE(keep());
  EXPECT_EQ(check().problems, std::vector<std::string>{});
  EXPECT_EQ(check().grants, 3u);
  const auto expect_problem = [this](const char* sql, const std::string& text) {
    run_sql(file(), sql);
    const auto found = check();
    ASSERT_GE(found.problems.size(), 1u) << sql;
    EXPECT_NE(found.problems[0].find(text), std::string::npos) << found.problems[0];
  };
  expect_problem("UPDATE ledger SET core_ms = core_ms + 2 WHERE lease = 2",
                 "is said to have been held");
  run_sql(file(), "UPDATE ledger SET core_ms = core_ms - 2 WHERE lease = 2");
  EXPECT_EQ(check().found, 0u);
  expect_problem("UPDATE ledger SET end_ms = NULL WHERE lease = 2", "is open without terms");
  run_sql(file(), "UPDATE ledger SET end_ms = begin_ms + 10000 WHERE lease = 2");
  EXPECT_EQ(check().found, 0u);
  // Three leases of two cores each at one time, on a node of four.
  expect_problem("UPDATE ledger SET begin_ms = 1, end_ms = 10001", "at a time when others have 4");
  expect_problem("UPDATE ledger SET node = 99 WHERE lease = 3", "that is not there");
}

TEST_F(LedgerTest, KeepsGpuSecondsAndTheirPrice) {
  open({.gpu_hour = 3});
  NodeOffer on = node("n1", 4);
  on.gpus = {{"GPU-a"}, {"GPU-b"}};
  for (std::uint64_t lease = 1; lease <= 2; ++lease) {
    GrantTerms given = terms(lease, 1);
    given.gpus_per_worker = 2;
    ledger_->granted({given, on});
    now_ += 1800s;
    Usage usage = used(1, 1800s);
    usage.gpu_seconds = 3600;
    ledger_->ended({given, on}, usage, {.how = GrantEnd::kReported});
  }
  ASSERT_TRUE(keep());
  const auto all = rows();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].gpus, 2u);
  EXPECT_EQ(all[0].gpu_ms, 3'600'000u);
  EXPECT_DOUBLE_EQ(all[0].usage.gpu_seconds, 3600.0);
  EXPECT_DOUBLE_EQ(all[0].cost, 3.0);
  wire::LedgerFilter by_user;
  by_user.grouping = wire::LedgerGrouping::USERS;
  const auto together = rows(by_user);
  ASSERT_EQ(together.size(), 1u);
  EXPECT_EQ(together[0].gpu_ms, 7'200'000u);
  EXPECT_EQ(check().problems, std::vector<std::string>{});

  const auto expect_problem = [this](const char* sql, const std::string& text) {
    run_sql(file(), sql);
    const auto found = check();
    ASSERT_EQ(found.problems.size(), 1u) << sql;
    EXPECT_EQ(found.problems[0], text);
  };
  expect_problem("UPDATE ledger SET gpu_ms = gpu_ms + 1 WHERE lease = 2",
                 "lease 2 part 0 has held 2 GPUs for 1800000 ms, and is said to have used 3600001 "
                 "ms of them");
  run_sql(file(), "UPDATE ledger SET gpu_ms = gpu_ms - 1 WHERE lease = 2");
  EXPECT_EQ(check().found, 0u);
  expect_problem(
      "UPDATE ledger SET begin_ms = 1, end_ms = 1800001",
      "lease 2 part 0 has 2 GPUs of a node of 2 at a time when others have 2 there, lease "
      "1 part 0 among them");
}

TEST_F(LedgerTest, KeepsQuotasAndWhatAClientOfAnOpenGrantIsOwed) {
  open();
  EXPECT_TRUE(ledger_->take_quotas().empty());
  const wire::LeaseQuota all{4, 1000};
  const wire::LeaseQuota own{{}, 0};
  ledger_->quota_set({}, &all);
  ledger_->quota_set(1000, &own);
  ledger_->quota_set(1001, &own);
  ledger_->quota_set(1001, nullptr);
  GrantTerms grant = terms(1);
  grant.notice = 30s;
  grant.priority = -7;
  ledger_->granted({grant, node("n1")});
  ASSERT_TRUE(keep());
  open();
  const auto quotas = ledger_->take_quotas();
  ASSERT_EQ(quotas.size(), 2u);
  EXPECT_FALSE(quotas[0].first);
  EXPECT_EQ(quotas[0].second, all);
  EXPECT_EQ(quotas[1].first, 1000u);
  EXPECT_EQ(quotas[1].second, own);
  const auto grants = ledger_->take_open();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].terms.notice, 30s);
  EXPECT_EQ(grants[0].terms.priority, -7);
}

TEST_F(LedgerTest, KnowsWhatUsersHaveUsedSinceATime) {
  open();
  const Time midnight = now_;
  now_ -= 100s;  // begins before, half of it
  const GrantTerms before = terms(1);
  ledger_->granted({before, node("n1")});
  now_ += 200s;
  ledger_->ended({before, node("n1")}, used(1, 200s), {.how = GrantEnd::kReported});
  const GrantTerms after = terms(2);
  ledger_->granted({after, node("n1")});
  ledger_->used({after, node("n1")}, used(1, 7s));
  GrantTerms other = terms(3);
  other.owner_uid = 1001;
  other.owner = "bob@n9";
  ledger_->granted({other, node("n1")});
  ledger_->used({other, node("n1")}, used(1, 3s));
  ASSERT_TRUE(keep());
  open();
  auto sums = ledger_->used_since(midnight);
  std::sort(sums.begin(), sums.end());
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_EQ(sums[0], (std::pair<std::uint32_t, std::int64_t>(1000, 107'000)));
  EXPECT_EQ(sums[1], (std::pair<std::uint32_t, std::int64_t>(1001, 3000)));
}

}  // namespace
}  // namespace sublet::manager
