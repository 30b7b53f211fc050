// What the resource manager does with its records: a lease is answered once it is kept, ends are
// told as kept once they are, and nothing is leased while nothing can be written.

#include "resource_manager_fixture.hpp"

#include <deque>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

/// Keeps nothing, and answers when the test says so.
class FakeRecords final : public LeaseRecords {
 public:
  void granted(const GrantOnNode&) override { ++told_; }
  void claimed(const GrantOnNode&) override { ++told_; }
  void used(const GrantOnNode&, const Usage&) override { ++told_; }
  void extended(const GrantOnNode&) override { ++told_; }
  void ended(const GrantOnNode& grant, const Usage& in_all, const GrantEnding&) override {
    ++told_;
    ended_calls[number(grant.terms.key.lease)] = in_all.invocations;
  }

  std::vector<OpenGrant> take_open() override { return std::move(open); }
  [[nodiscard]] LeaseId unused_lease() const override { return first; }
  void numbered(LeaseId lease) override { last = lease; }
  Quotas take_quotas() override { return std::move(quotas); }
  void quota_set(std::optional<std::uint32_t> uid, const wire::LeaseQuota* quota) override {
    ++told_;
    quotas_set.emplace_back(uid, quota == nullptr ? wire::LeaseQuota{} : *quota);
  }
  std::vector<std::pair<std::uint32_t, std::int64_t>> used_since(Time begin) override {
    used_from = begin;
    return used_today;
  }
  [[nodiscard]] Result<void> ready() const override {
    if (failure) return tl::unexpected<Error>(*failure);
    return {};
  }
  kj::Promise<Result<void>> keep() override {
    auto pair = kj::newPromiseAndFulfiller<Result<void>>();
    waiting.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }
  [[nodiscard]] std::uint64_t told() const override { return told_; }
  [[nodiscard]] std::uint64_t kept() const override { return kept_; }
  kj::Promise<Result<wire::LedgerPage>> read(wire::LedgerFilter) override {
    return Result<wire::LedgerPage>(wire::LedgerPage{});
  }
  kj::Promise<Result<wire::LedgerCheck>> verify() override {
    return Result<wire::LedgerCheck>(wire::LedgerCheck{3, 1, {"something"}});
  }

  void answer(const Result<void>& done) {
    if (done) kept_ = told_;
    for (auto& one : std::exchange(waiting, {})) one->fulfill(Result<void>(done));
  }

  std::vector<OpenGrant> open;
  LeaseId first{LeaseId{std::uint64_t{1} << 60}};
  LeaseId last{};
  Quotas quotas;
  Quotas quotas_set;
  std::vector<std::pair<std::uint32_t, std::int64_t>> used_today;
  Time used_from{};
  std::optional<Error> failure;
  std::deque<kj::Own<kj::PromiseFulfiller<Result<void>>>> waiting;
  std::map<std::uint64_t, std::uint64_t> ended_calls;

 private:
  std::uint64_t told_ = 0;
  std::uint64_t kept_ = 0;
};

class RecordsTest : public ResourceManagerTest {
 protected:
  RecordsTest() { start(); }
  ~RecordsTest() noexcept override { service_->forget_records(); }

  void start() {
    service_ = kj::refcounted<ResourceManagerService>(
        timer_, *Operators::of_this_process(), [this] { return now_; }, &records_);
    manager_ = make_resource_manager(kj::addRef(*service_), nullptr);
  }
  EndedGrant ended(std::uint64_t lease, std::uint64_t calls) {
    EndedGrant grant;
    grant.terms.key.lease = LeaseId{lease};
    grant.terms.workers = 1;
    grant.terms.token[0] = 9;
    grant.terms.expires = now_ + 1h;
    grant.usage.invocations = calls;
    grant.reason = "released";
    return grant;
  }

  FakeRecords records_;
};

TEST_F(RecordsTest, ALeaseIsAnsweredOnceItIsKept) {
  FakeNode node;
  const auto registration = join(node, "c1", 2);
  auto asked = ask(1);
  turn();
  ASSERT_EQ(records_.waiting.size(), 1u) << "its grants are told, and waited for";
  EXPECT_FALSE(asked.poll(scope_));
  records_.answer({});
  const auto response = asked.wait(scope_);
  EXPECT_FALSE(wire::failure_of(response));
  EXPECT_GE(response.getGrants()[0].getLeaseId(), number(records_.first));
  EXPECT_EQ(response.getGrants()[0].getLeaseId(), number(records_.last));
}

TEST_F(RecordsTest, ALeaseThatCannotBeKeptIsTakenBack) {
  FakeNode node;
  const auto registration = join(node, "c1", 2);
  auto asked = ask(1);
  turn();
  records_.answer(fail(ErrorKind::kOverloaded, "the disk is full; make room"));
  const auto response = asked.wait(scope_);
  const auto failure = wire::failure_of(response);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind(), ErrorKind::kOverloaded);
  EXPECT_STREQ(failure->what(), "the disk is full; make room");
  turn();
  EXPECT_EQ(node.revoked.size(), 1u);
  EXPECT_EQ(free_cores(), 2u);
}

TEST_F(RecordsTest, NothingIsLeasedWhileNothingCanBeWritten) {
  FakeNode node;
  const auto registration = join(node, "c1", 2);
  records_.failure = Error(ErrorKind::kOverloaded, "make room");
  const auto response = ask(1).wait(scope_);
  EXPECT_STREQ(wire::failure_of(response)->what(), "make room");
  EXPECT_EQ(node.heard, 0u);
}

TEST_F(RecordsTest, EndsAreToldAsKeptOnceTheyAre) {
  const NodeOffer offer{"c1", "boot/c1", 4, 1u << 30, "0", {"unix:@c1"}};
  FakeNode node;
  auto request = manager_.registerRequest();
  write(request.initNode(), offer);
  request.setControl(kj::heap<FakeControl>(node));
  auto list = request.initEnded(2);
  write(list[0], ended(70, 4));
  write(list[1], ended(71, 5));
  auto registration = request.send().wait(scope_).getRegistration();
  EXPECT_EQ(records_.ended_calls, (std::map<std::uint64_t, std::uint64_t>{{70, 4}, {71, 5}}));
  const auto ends_kept = [&] {
    return registration.heartbeatRequest().send().wait(scope_).getEndsKept();
  };
  EXPECT_EQ(ends_kept(), 0u);
  records_.answer({});
  EXPECT_EQ(ends_kept(), 2u);
  // One that this manager has never heard of, as a node tells it after the registration.
  auto later = registration.endedRequest();
  const EndedGrant grant = ended(72, 6);
  later.setLeaseId(72);
  write(later.initGrant(), grant.terms);
  wire::write(later.initUsage(), grant.usage);
  later.send().wait(scope_);
  EXPECT_EQ(records_.ended_calls.at(72), 6u);
  EXPECT_EQ(ends_kept(), 2u);
  records_.answer({});
  EXPECT_EQ(ends_kept(), 3u);
}

TEST_F(RecordsTest, TakesUpWhatWasOpen) {
  OpenGrant open;
  open.terms = ended(70, 0).terms;
  open.terms.claimed = true;
  open.terms.owner = "me@here";
  open.node = {"c1", "boot/c1", 4, 1u << 30, "0", {"unix:@c1"}};
  service_->forget_records();
  records_.open = {open};
  start();
  EXPECT_EQ(service_->book().nodes().views(now_).at(0).state, "lost");
  FakeNode node;
  const auto registration = join(node, "c1", 4, {open.terms});
  EXPECT_EQ(free_cores(), 3u);
  EXPECT_EQ(service_->book().grants().leases(false).at(0).id, 70u);
  EXPECT_EQ(node.revoked.size(), 0u);
}

TEST_F(RecordsTest, TheLedgerIsAskedForByACall) {
  const auto check = manager_.verifyLedgerRequest().send().wait(scope_);
  EXPECT_EQ(check.getGrants(), 3u);
  EXPECT_EQ(wire::to_string(check.getProblems()[0]), "something");
  EXPECT_FALSE(wire::failure_of(manager_.ledgerRequest().send().wait(scope_)));
}

TEST_F(ResourceManagerTest, WithoutRecordsThereIsNoLedger) {
  const auto response = manager_.ledgerRequest().send().wait(scope_);
  const auto failure = wire::failure_of(response);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind(), ErrorKind::kUnsupported);
  EXPECT_NE(std::string(failure->what()).find("--state-dir"), std::string::npos);
}

}  // namespace
}  // namespace sublet::manager
