// The books of real managers: what they say is what the nodes measured, whatever is killed
// meanwhile.

#include "command_fixture.hpp"
#include "manager_client.hpp"
#include "support/eventually.hpp"
#include "support/managers.hpp"
#include <common/manager_query.hpp>
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <pwd.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>
#include <tuple>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct Pair {
  double a, b;
};

/// What one grant has used, as its node or the ledger tells it.
struct Spent {
  std::uint64_t core_ms = 0;
  std::uint64_t calls = 0;
  auto operator<=>(const Spent&) const = default;
};
using GrantName = std::tuple<std::uint64_t, std::uint32_t, std::string>;  ///< Lease, part, node.
using Books = std::map<GrantName, Spent>;

std::ostream& operator<<(std::ostream& to, const Spent& spent) {
  return to << spent.core_ms << " core-ms, " << spent.calls << " calls";
}

class LedgerSystem : public CommandTest {
 protected:
  static std::vector<TestNode> two_nodes() { return {{.name = "n1"}, {.name = "n2"}}; }

  void kill_manager() {
    managers_.resource_manager().signal(SIGKILL);
    ASSERT_TRUE(managers_.resource_manager().wait(30s));
  }

  Ended ledger(std::vector<std::string> words) {
    words.insert(words.begin(), "ledger");
    words.insert(words.end(), {"--manager", managers_.address(), "--timeout-ms", "20000"});
    return run(words);
  }
  json rows(std::vector<std::string> words = {}) {
    words.insert(words.end(), {"--output", "json"});
    const Ended ended = ledger(words);
    EXPECT_EQ(ended.code, 0) << ended.output;
    return json::parse(ended.output);
  }

  /// What the nodes have measured: they say so when a grant has ended.
  Books measured() {
    Books books;
    for (const char* const node : {"n1", "n2"}) {
      std::ifstream log(managers_.directory() + "/node-" + node + ".log");
      for (std::string line; std::getline(log, line);) {
        const std::size_t at = line.find("lease ");
        unsigned long long lease = 0, core_ms = 0, calls = 0;
        unsigned part = 0;
        if (at == std::string::npos ||
            std::sscanf(line.c_str() + at, "lease %llu part %u has ended: %llu core-ms, %llu calls",
                        &lease, &part, &core_ms, &calls) != 4) {
          continue;
        }
        EXPECT_TRUE(books.emplace(GrantName(lease, part, node), Spent{core_ms, calls}).second)
            << "lease " << lease << " part " << part << " was granted twice on " << node;
      }
    }
    return books;
  }
  Books kept() {
    Books books;
    const json all = rows();
    for (const json& row : all.at("ledger")) {
      EXPECT_EQ(row.at("open"), 0) << row;
      EXPECT_EQ(row.at("unsure"), 0) << row;
      books[{row.at("lease"), row.at("part"), row.at("node")}] = {row.at("core_ms"),
                                                                  row.at("invocations")};
    }
    return books;
  }
  void expect_sound() {
    const Ended verified = ledger({"verify"});
    EXPECT_EQ(verified.code, 0) << verified.output;
  }
  bool nothing_open() {
    wire::LedgerFilter by_user;
    by_user.grouping = wire::LedgerGrouping::USERS;
    const auto page = manager::query_ledger(managers_.address(), by_user, 20s);
    if (!page) return false;
    std::uint64_t open = 0;
    for (const auto& row : page->rows) open += row.open;
    return open == 0;
  }

  TestManagers managers_{two_nodes(), false, true};
};

/// Leases, calls and gives back, again and again, while the resource manager is killed.
class Tenant {
 public:
  Tenant(SessionOptions options, unsigned seed)
      : options_(std::move(options)), random_(seed), thread_([this] { live(); }) {}
  ~Tenant() { stop(); }
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;

  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::uint64_t granted() const { return granted_; }
  /// Once it has stopped.
  [[nodiscard]] const std::vector<std::uint64_t>& leases() const { return leases_; }

 private:
  void live() {
    while (!stopping_) {
      auto session = Session::open(options_);
      while (session && !stopping_ && hold_one(*session)) {
      }
    }
  }
  /// False when the resource manager is away.
  bool hold_one(Session& session) {
    LeaseRequest request;
    request.cores = 1 + random_() % 2;
    request.placement = Placement::kSpread;
    request.memory_bytes = 64u << 20;
    request.arena_bytes = 1u << 20;
    request.hot_timeout = 0ms;
    auto lease = session.lease(request);
    if (!lease) return lease.error().kind() == ErrorKind::kOverloaded;
    leases_.push_back(lease->id());
    ++granted_;
    if (random_() % 2 == 0) return true;
    auto multiply = lease->function<double(Pair)>(CLIENT_FUNCTIONS, "multiply");
    if (multiply) (void)(*multiply)(Pair{2, 3});
    return true;
  }

  const SessionOptions options_;
  std::mt19937 random_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> granted_{0};
  std::vector<std::uint64_t> leases_;
  std::thread thread_;
};

TEST_F(LedgerSystem, BooksAreExactWhereverTheResourceManagerIsKilled) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::uint64_t long_lease = 0;
  std::set<std::uint64_t> numbers;
  std::size_t told = 0;
  {
    auto session = Session::open(managers_.session_options()).value_or_throw();
    auto lease = session.lease({}).value_or_throw();
    long_lease = lease.id();
    auto multiply = lease.function<double(Pair)>(CLIENT_FUNCTIONS, "multiply").value_or_throw();
    std::vector<std::unique_ptr<Tenant>> tenants;
    for (unsigned i = 0; i < 3; ++i) {
      tenants.push_back(std::make_unique<Tenant>(managers_.session_options(), seed + i));
    }
    const auto granted = [&tenants] {
      std::uint64_t sum = 0;
      for (const auto& tenant : tenants) sum += tenant->granted();
      return sum;
    };
    double product = 0;
    for (int round = 0; round < 6; ++round) {
      // Wherever it is then: between a lease's steps, in a commit, before anybody is back.
      const std::uint64_t enough = granted() + random() % 12;
      ASSERT_TRUE(eventually([&] { return granted() >= enough; }));
      kill_manager();
      product = multiply(Pair{2, 3.0 + round}).value_or_throw();
      EXPECT_EQ(product, 2 * (3.0 + round)) << "calls go on";
      managers_.start_resource_manager();
    }
    const std::uint64_t enough = granted() + 5;
    EXPECT_TRUE(eventually([&] { return granted() >= enough; }));
    for (const auto& tenant : tenants) {
      tenant->stop();
      told += tenant->leases().size();
      numbers.insert(tenant->leases().begin(), tenant->leases().end());
    }
    EXPECT_EQ(numbers.size(), told) << "a lease number was used twice";
    const auto alive = managers_.leases();
    EXPECT_TRUE(std::any_of(alive.begin(), alive.end(), [long_lease](const LeaseInfo& info) {
      return info.id == long_lease && info.state == "active";
    })) << "the lease is lost";
  }
  managers_.wait_for_free_cores(8);
  ASSERT_TRUE(eventually([this] { return nothing_open(); }));
  const Books nodes = measured();
  EXPECT_EQ(kept(), nodes);
  EXPECT_TRUE(nodes.contains({long_lease, 0, "n1"}));
  for (const std::uint64_t number : numbers) {
    const auto found = nodes.lower_bound({number, 0, ""});
    EXPECT_TRUE(found != nodes.end() && std::get<0>(found->first) == number) << number;
  }
  expect_sound();
}

TEST_F(LedgerSystem, AGrantThatEndsWhileTheManagerIsAwayIsInTheBooks) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  {
    const auto claim = client.claim(lease.grants[0]).value_or_throw();
    kill_manager();
  }
  EXPECT_TRUE(eventually([this] { return measured().size() == 1; }));
  managers_.start_resource_manager();
  managers_.wait_for_free_cores(8);
  ASSERT_TRUE(eventually([this] { return nothing_open(); }));
  EXPECT_EQ(kept(), measured());
  expect_sound();
}

TEST_F(LedgerSystem, ANodeThatIsKilledKeepsItsLastKnownUsage) {
  ManagerClient client(managers_.address());
  const auto lease = client.lease(2).value_or_throw();
  const auto claim = client.claim(lease.grants[0]).value_or_throw();
  const std::string node = lease.grants[0].node_name;
  const auto row = [this] { return rows().at("ledger").at(0); };
  ASSERT_TRUE(eventually([&] { return row().at("core_ms") > 0; })) << "no usage is told";
  managers_.node(node == "n1" ? 0 : 1).signal(SIGKILL);
  kill_manager();
  managers_.start_resource_manager();
  ASSERT_TRUE(eventually([this] { return nothing_open(); }));
  EXPECT_EQ(row().at("unsure"), 1) << row();
  EXPECT_EQ(row().at("ended"), "node lost") << row();
  EXPECT_GT(row().at("core_ms"), 0);
  expect_sound();
}

TEST_F(LedgerSystem, AFullDiskStopsLeasingUntilThereIsRoom) {
  ManagerClient client(managers_.address());
  const auto running = client.lease(1).value_or_throw();
  auto claim = client.claim(running.grants[0]).value_or_throw();
  rlimit limit{};
  const pid_t manager = managers_.resource_manager().pid();
  ASSERT_EQ(::prlimit(manager, RLIMIT_FSIZE, nullptr, &limit), 0);
  const rlimit full{4096, limit.rlim_max};
  ASSERT_EQ(::prlimit(manager, RLIMIT_FSIZE, &full, nullptr), 0);
  const auto refused = [&client] { return client.lease(1); };
  const auto first = refused();
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().kind(), ErrorKind::kOverloaded);
  expect_contains(first.error().what(), "make room");
  expect_contains(refused().error().what(), "no leases are granted while");
  EXPECT_TRUE(client.extend(running.grants[0], claim, 1h)) << "what runs goes on";
  ASSERT_EQ(::prlimit(manager, RLIMIT_FSIZE, &limit, nullptr), 0);
  EXPECT_TRUE(eventually([&client] { return client.lease(1).has_value(); }));
  expect_sound();
}

TEST_F(LedgerSystem, ASecondManagerIsRefused) {
  const Ended second = run({"resource-manager", "--state-dir", managers_.state_directory(),
                            "--listen", "unix:" + managers_.directory() + "/other.sock"});
  EXPECT_EQ(second.code, 2) << second.output;
  expect_contains(second.output, "process " + std::to_string(managers_.resource_manager().pid()));
}

TEST_F(LedgerSystem, ShowsWhoUsedWhat) {
  ManagerClient client(managers_.address());
  {
    const auto lease = client.lease(1, 2).value_or_throw();
    for (const Grant& grant : lease.grants) (void)client.claim(grant).value_or_throw();
  }
  managers_.wait_for_free_cores(8);
  ASSERT_TRUE(eventually([this] { return nothing_open(); }));
  const std::string uid = std::to_string(::getuid());
  EXPECT_EQ(rows().at("ledger").size(), 2u);
  const json users = rows({"--by", "user", "--user", uid});
  ASSERT_EQ(users.at("ledger").size(), 1u) << users;
  const passwd* const user = ::getpwuid(::getuid());
  ASSERT_NE(user, nullptr);
  EXPECT_EQ(users.at("ledger")[0].at("user"), user->pw_name);
  EXPECT_EQ(users.at("ledger")[0].at("grants"), 2);
  EXPECT_EQ(users.at("total").at("core_ms"), users.at("ledger")[0].at("core_ms"));
  EXPECT_EQ(rows({"--user", "nobody-else"}).at("ledger").size(), 0u);
  EXPECT_EQ(rows({"--until", "2020-01-01"}).at("ledger").size(), 0u);
  EXPECT_EQ(rows({"--since", "2020-01-01", "--by", "node"}).at("by"), "nodes");
  expect_contains(ledger({}).output, "CORE-S");
  expect_contains(ledger({"--output", "csv"}).output, "lease,part,user,job,node,cores,");
  EXPECT_EQ(ledger({"--by", "moon"}).code, 2);
  EXPECT_EQ(ledger({"--since", "yesterday"}).code, 2);
  EXPECT_EQ(ledger({"verify"}).code, 0);
}

}  // namespace
}  // namespace sublet::test
