// The client library against real managers and executors.

#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory_resource>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::TestManagers;
using test::TestNode;
using test::TwoHosts;

struct Pair {
  double a, b;
};

class Client : public ::testing::Test {
 protected:
  /// SUBLET_TEST_HOSTS=2: the nodes are on another host than the test, and only a network leads
  /// there. SUBLET_TRANSPORT names the transport.
  void SetUp() override {
    const char* hosts = std::getenv("SUBLET_TEST_HOSTS");
    if (hosts == nullptr || std::string(hosts) != "2") return;
    std::string why_not;
    hosts_ = TwoHosts::make(why_not);
    if (!hosts_) GTEST_SKIP() << why_not;
  }

  void start(const std::vector<TestNode>& nodes = {TestNode{}}, bool tcp = false) {
    managers_ = hosts_ ? std::make_unique<TestManagers>(*hosts_, nodes)
                       : std::make_unique<TestManagers>(nodes, tcp);
  }
  void open(const std::vector<TestNode>& nodes = {TestNode{}}, const LeaseRequest& request = {}) {
    start(nodes);
    session_ = Session::open(managers_->session_options()).value_or_throw();
    lease_ = session_.lease(request).value_or_throw();
  }
  Function function(const std::string& name, FunctionOptions options = {}) {
    return lease_.function(CLIENT_FUNCTIONS, name, options).value_or_throw();
  }
  template <class Signature>
  TypedFunction<Signature> typed(const std::string& name, FunctionOptions options = {}) {
    return lease_.function<Signature>(CLIENT_FUNCTIONS, name, options).value_or_throw();
  }

  std::unique_ptr<TwoHosts> hosts_;
  std::unique_ptr<TestManagers> managers_;
  Session session_;
  Lease lease_;
};

std::vector<char> noise(std::size_t size, unsigned seed) {
  std::vector<char> bytes(size);
  std::mt19937 random(seed);
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

TEST_F(Client, StagesPlainMemoryOfEverySize) {
  open();
  Function echo = function("echo");
  for (const std::size_t size : std::initializer_list<std::size_t>{
           0, 1, 8, 32, 33, 40, 41, 64, 1000, 32768, 65536, 65537, 5u << 20}) {
    const std::vector<char> in = noise(size, static_cast<unsigned>(size));
    std::vector<char> out(size + 1);
    const Reply reply = echo.call(in.data(), size, out.data(), size);
    ASSERT_EQ(reply.status, Status::kOk) << size << ": " << echo.last_error();
    ASSERT_EQ(reply.size, size);
    ASSERT_EQ(std::memcmp(in.data(), out.data(), size), 0) << size;
  }
}

TEST_F(Client, UsesTheArenaInPlace) {
  open();
  Function add = function("add_one_in_place");
  auto buffer = lease_.buffer<std::uint64_t>(100'000).value_or_throw();
  std::iota(buffer.begin(), buffer.end(), 0);
  const Reply reply =
      add.call(buffer.data(), buffer.size_bytes(), buffer.data(), buffer.size_bytes());
  ASSERT_TRUE(reply.ok()) << add.last_error();
  for (std::uint64_t i = 0; i < buffer.size(); ++i) ASSERT_EQ(buffer[i], i + 1);

  std::pmr::vector<std::uint64_t> values(1000, 7, lease_.arena().get());
  ASSERT_TRUE(add.call(values.data(), 8000, values.data(), 8000).ok());
  EXPECT_EQ(values, std::pmr::vector<std::uint64_t>(1000, 8));
}

TEST_F(Client, RefusesABufferThatTheArenaCannotHold) {
  LeaseRequest request;
  request.arena_bytes = 4 << 20;
  open({TestNode{}}, request);
  auto buffer = lease_.buffer<char>(64 << 20);
  ASSERT_FALSE(buffer);
  EXPECT_EQ(buffer.error().kind(), ErrorKind::kOverloaded);
  Function echo = function("echo");
  std::vector<char> large(8 << 20);
  const Reply reply = echo.call(large.data(), large.size(), large.data(), large.size());
  EXPECT_EQ(reply.status, Status::kInvalid);
  EXPECT_NE(echo.last_error().find("arena"), std::string::npos) << echo.last_error();
  EXPECT_TRUE(echo.call("x", 1, large.data(), 1).ok());
}

TEST_F(Client, CallsTypedFunctions) {
  open();
  auto multiply = typed<double(Pair)>("multiply");
  for (int i = 0; i < 1000; ++i) {
    auto product = multiply(Pair{1.0 * i, 3});
    ASSERT_TRUE(product) << product.error().what();
    ASSERT_EQ(*product, 3.0 * i);
  }
}

TEST_F(Client, SaysWhatFunctionsReport) {
  open();
  auto refuse = typed<std::int32_t(std::int32_t)>("refuse");
  auto refused = refuse(42);
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("code 42 is refused"), std::string::npos);
  EXPECT_NE(std::string(refused.error().what()).find("refuse"), std::string::npos);

  auto throws = typed<std::uint8_t(std::uint8_t)>("throw_up");
  auto thrown = throws(0);
  ASSERT_FALSE(thrown);
  const std::string text = thrown.error().what();
  EXPECT_NE(text.find("throw_up"), std::string::npos) << text;
  EXPECT_NE(text.find("std::out_of_range"), std::string::npos) << text;
  EXPECT_NE(text.find("the seventh of six"), std::string::npos) << text;
}

TEST_F(Client, SaysHowMuchRoomAnOutputNeeds) {
  open();
  Function echo = function("echo");
  char in[200] = {};
  char out[100];
  const Reply reply = echo.call(in, sizeof(in), out, sizeof(out));
  EXPECT_EQ(reply.status, Status::kOutputTooLarge);
  EXPECT_EQ(reply.size, 200u);
  EXPECT_NE(echo.last_error().find("200"), std::string::npos) << echo.last_error();
}

TEST_F(Client, GoesOnAfterCrashExitAndOverrun) {
  open();
  auto pid = typed<std::int32_t(std::uint8_t)>("process");
  Function crash = function("crash");
  Function leave = function("leave");
  Function spin = function("spin_ms", {.timeout = 50ms});
  std::int32_t before = pid(0).value_or_throw();
  const auto replaced = [&] {
    const std::int32_t now = pid(0).value_or_throw();
    const bool differs = now != before;
    before = now;
    return differs;
  };
  char out[8];

  EXPECT_EQ(crash.call("", 1, out, 1).status, Status::kCrashed);
  EXPECT_NE(crash.last_error().find("'crash'"), std::string::npos) << crash.last_error();
  EXPECT_NE(crash.last_error().find("SIGSEGV"), std::string::npos) << crash.last_error();
  EXPECT_TRUE(replaced());

  const std::int32_t status = 3;
  EXPECT_EQ(leave.call(&status, 4, out, 1).status, Status::kExited);
  EXPECT_NE(leave.last_error().find("exit(3)"), std::string::npos) << leave.last_error();
  EXPECT_TRUE(replaced());

  const std::uint32_t forever = 1'000'000;
  EXPECT_EQ(spin.call(&forever, 4, out, 4).status, Status::kTimedOut);
  EXPECT_NE(spin.last_error().find("50 ms"), std::string::npos) << spin.last_error();
  EXPECT_TRUE(replaced());
}

TEST_F(Client, LosesOnlyTheCallsInFlightWhenAnExecutorIsKilled) {
  open({TestNode{}}, {.cores = 2});
  auto pid = typed<std::int32_t(std::uint8_t)>("process");
  Function spin = function("spin_ms");
  const std::int32_t executor = pid(0).value_or_throw();
  const std::uint32_t long_time = 60'000;
  std::uint32_t out[2];
  Call first = spin.async(&long_time, 4, &out[0], 4);
  Call second = spin.async(&long_time, 4, &out[1], 4);
  ASSERT_EQ(::kill(executor, SIGKILL), 0);
  for (Call* call : {&first, &second}) {
    EXPECT_EQ(call->wait_for(20s).status, Status::kLost);
    EXPECT_NE(call->error().find("SIGKILL"), std::string::npos) << call->error();
  }
  for (int i = 0; i < 10; ++i) EXPECT_NE(pid(0).value_or_throw(), executor);
}

TEST_F(Client, RunsLostCallsOfIdempotentFunctionsAgain) {
  open();
  auto pid = typed<std::int32_t(std::uint8_t)>("process");
  auto die = typed<std::int32_t(std::int32_t)>("die_unless_generation", {.idempotent = true});
  auto die_once = typed<std::int32_t(std::int32_t)>("die_unless_generation");
  const std::int32_t first = pid(0).value_or_throw();
  auto second = die(first);
  ASSERT_TRUE(second) << second.error().what();
  EXPECT_NE(*second, first);
  auto lost = die_once(*second);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().kind(), ErrorKind::kDisconnected);

  const std::int32_t third = pid(0).value_or_throw();
  std::int32_t fourth = 0;
  Call call = die.async(third, fourth);
  EXPECT_EQ(call.wait_for(20s).status, Status::kOk) << call.error();
  EXPECT_NE(fourth, third);
}

TEST_F(Client, KeepsManyCallsUnderWayInAnyOrderOfCollection) {
  open({TestNode{}}, {.cores = 2, .slots = 4});
  auto multiply = typed<double(Pair)>("multiply");
  std::vector<Pair> in(500);
  std::vector<double> out(in.size());
  std::vector<Call> calls;
  for (std::size_t i = 0; i < in.size(); ++i) {
    in[i] = {static_cast<double>(i), 2};
    calls.push_back(multiply.async(in[i], out[i]));
  }
  std::shuffle(calls.begin(), calls.end(), std::mt19937(5));
  for (Call& call : calls) ASSERT_TRUE(call.wait().ok()) << call.error();
  for (std::size_t i = 0; i < in.size(); ++i) ASSERT_EQ(out[i], 2.0 * static_cast<double>(i));
}

TEST_F(Client, GivesBackPressureOnOneWorker) {
  open({TestNode{}}, {.slots = 4});
  Function spin = function("spin_ms");
  const std::uint32_t ms = 30'000;
  std::uint32_t out[5];
  Call calls[5];
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(spin.try_async(0, &ms, 4, &out[i], 4, calls[i]), Status::kOk);
  }
  EXPECT_EQ(spin.try_async(0, &ms, 4, &out[4], 4, calls[4]), Status::kAgain);
  EXPECT_FALSE(calls[4].valid());
  EXPECT_EQ(spin.try_async(7, &ms, 4, &out[4], 4, calls[4]), Status::kInvalid);
  EXPECT_FALSE(calls[0].poll());
  EXPECT_EQ(calls[0].wait_for(1ms).status, Status::kDeadline);
  lease_.release();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(calls[i].wait().status, Status::kClosed);
}

TEST_F(Client, RunsContinuationsOnTheThreadThatWaits) {
  open({TestNode{}}, {.cores = 2});
  auto multiply = typed<double(Pair)>("multiply");
  const auto self = std::this_thread::get_id();
  std::vector<double> out(50);
  std::size_t ran = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    multiply.async(Pair{static_cast<double>(i), 1}, out[i]).then([&, self](const Reply& reply) {
      EXPECT_TRUE(reply.ok());
      EXPECT_EQ(std::this_thread::get_id(), self);
      ++ran;
    });
  }
  EXPECT_TRUE(lease_.wait_all(20s));
  EXPECT_EQ(ran, out.size());
}

TEST_F(Client, BalancesABatchOverItsWorkers) {
  open({TestNode{}}, {.cores = 3});
  Function spin = function("spin_ms");
  std::vector<std::uint32_t> in(60, 1);
  std::vector<std::uint32_t> out(in.size());
  std::vector<BatchItem> items(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) items[i] = {&in[i], 4, &out[i], 4, {}};
  auto report = spin.batch(items, 60s);
  ASSERT_TRUE(report) << report.error().what();
  EXPECT_EQ(report->ok, items.size());
  std::vector<std::size_t> by_worker(3);
  for (const BatchItem& item : items) ++by_worker.at(item.reply.worker);
  for (const std::size_t count : by_worker) EXPECT_GT(count, 0u);
  EXPECT_EQ(out, in);
}

TEST_F(Client, CountsFailuresOfABatchAndGoesOn) {
  open();
  Function refuse = function("refuse");
  std::int32_t code = 9;
  std::int32_t out[3];
  BatchItem items[3] = {
      {&code, 4, &out[0], 4, {}}, {&code, 3, &out[1], 4, {}}, {&code, 4, &out[2], 4, {}}};
  auto report = refuse.batch(items, 30s);
  ASSERT_TRUE(report) << report.error().what();
  EXPECT_EQ(report->failed, 3u);
  EXPECT_NE(report->first_error.find("code 9"), std::string::npos) << report->first_error;
}

TEST_F(Client, EndsABatchAtItsLimit) {
  open({TestNode{}}, {.slots = 2});
  Function spin = function("spin_ms");
  std::vector<std::uint32_t> in(50, 20);
  std::vector<std::uint32_t> out(in.size());
  std::vector<BatchItem> items(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) items[i] = {&in[i], 4, &out[i], 4, {}};
  EXPECT_FALSE(spin.batch(items, 50ms));
  EXPECT_EQ(items.back().reply.status, Status::kDeadline);
  EXPECT_EQ(items.front().reply.status, Status::kOk);
}

TEST_F(Client, NamesWhatIsWrongWithALibraryOrFunction) {
  open();
  auto missing = lease_.function("/nonexistent/lib.so", "f");
  ASSERT_FALSE(missing);
  EXPECT_NE(std::string(missing.error().what()).find("/nonexistent/lib.so"), std::string::npos);
  auto unknown = lease_.function(CLIENT_FUNCTIONS, "no_such_function");
  ASSERT_FALSE(unknown);
  EXPECT_NE(std::string(unknown.error().what()).find("no_such_function"), std::string::npos);
  auto text = lease_.function("/etc/passwd", "f");
  ASSERT_FALSE(text);
  EXPECT_NE(std::string(text.error().what()).find("ELF"), std::string::npos) << text.error().what();
  EXPECT_TRUE(function("echo").call("x", 1, nullptr, 0).status == Status::kOutputTooLarge);
}

TEST_F(Client, ReachesAWorkerOnAnotherNode) {
  if (const char* transport = std::getenv("SUBLET_TRANSPORT"); transport != nullptr) {
    GTEST_SKIP() << transport << " was asked for";
  }
  TestNode first;
  TestNode second;
  first.oversubscribe = second.oversubscribe = 1;
  second.name = "n2";
  start({first, second}, true);
  session_ = Session::open(managers_->session_options()).value_or_throw();
  Lease both = session_.lease({.cores = 2}).value_or_throw();
  for (std::size_t i = 0; i < 2; ++i) {
    const WorkerInfo worker = both.worker(i);
    const bool here = !hosts_ && worker.node_name == "n1";
    EXPECT_EQ(worker.transport == "shm", here) << worker.node_name << ": " << worker.transport;
  }
  Function echo = both.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
  for (int i = 0; i < 10; ++i) {
    int out = 0;
    EXPECT_TRUE(echo.call(&i, sizeof(i), &out, sizeof(out)).ok()) << echo.last_error();
    EXPECT_EQ(out, i);
  }
}

TEST_F(Client, SaysWhyATransportCannotBeUsed) {
  start();
  SessionOptions options = managers_->session_options("elsewhere");
  options.transport = "shm";
  session_ = Session::open(options).value_or_throw();
  auto lease = session_.lease({.cores = 1});
  ASSERT_FALSE(lease);
  EXPECT_NE(std::string(lease.error().what()).find("on another node"), std::string::npos)
      << lease.error().what();
  managers_->wait_for_free_cores(4);
}

TEST_F(Client, HearsThatItsLeaseEndsAndThenThatItHas) {
  open({TestNode{}}, {.duration = 4s});
  std::atomic<int> ending{0};
  std::atomic<int> lost{0};
  lease_.on_ending([&](const EndingNotice& notice) {
    EXPECT_GT(notice.left.count(), 0);
    ++ending;
  });
  lease_.on_lost([&](const std::string& reason) {
    EXPECT_NE(reason.find("expired"), std::string::npos) << reason;
    ++lost;
  });
  Function echo = function("echo");
  EXPECT_TRUE(eventually([&] { return lost.load() == 1; }));
  EXPECT_EQ(ending.load(), 1);
  char out = 0;
  const Reply reply = echo.call("x", 1, &out, 1);
  EXPECT_FALSE(reply.ok());
  EXPECT_NE(echo.last_error().find("expired"), std::string::npos) << echo.last_error();
  managers_->wait_for_free_cores(4);
}

TEST_F(Client, LivesLongerWhenExtended) {
  open({TestNode{}}, {.duration = 60s});
  const auto before = lease_.expires_at();
  ASSERT_TRUE(lease_.extend(1h));
  EXPECT_GT(lease_.expires_at() - before, 30min);
}

TEST_F(Client, CountsWhatItUses) {
  open();
  Function echo = function("echo");
  char in[100] = {};
  char out[100];
  for (int i = 0; i < 250; ++i) ASSERT_TRUE(echo.call(in, 100, out, 100).ok());
  // A worker counts a call after it has replied to it.
  EXPECT_TRUE(eventually([&] { return lease_.usage().value_or_throw().bytes_out == 25'000; }));
  auto usage = lease_.usage();
  ASSERT_TRUE(usage) << usage.error().what();
  EXPECT_EQ(usage->invocations, 250u);
  EXPECT_EQ(usage->bytes_in, 25'000u);
  EXPECT_EQ(usage->bytes_out, 25'000u);
  EXPECT_GT(usage->compute_ns, 0u);
  EXPECT_GT(usage->core_seconds, 0.0);
}

TEST_F(Client, NamesTheMemoryLimitThatAFunctionReaches) {
  open({TestNode{}}, {.memory_bytes = 32 << 20});
  auto allocate = typed<std::uint64_t(std::uint64_t)>("allocate");
  EXPECT_EQ(allocate(1 << 20).value_or_throw(), 1u << 20);
  auto too_much = allocate(std::uint64_t{512} << 20);
  ASSERT_FALSE(too_much);
  EXPECT_NE(std::string(too_much.error().what()).find("32 MiB"), std::string::npos)
      << too_much.error().what();
  EXPECT_TRUE(allocate(1 << 20));
}

TEST_F(Client, FreesItsCoresWhenTheLastHandleGoes) {
  open({TestNode{}}, {.cores = 2});
  managers_->wait_for_free_cores(2);
  {
    Function echo = function("echo");
    lease_ = {};
    char out;
    EXPECT_TRUE(echo.call("x", 1, &out, 1).ok()) << "a function keeps its lease";
  }
  managers_->wait_for_free_cores(4);
}

TEST_F(Client, LeasesAgainWhatItHasJustGivenBack) {
  open();
  const auto free = session_.nodes().value_or_throw().front().free_cores;
  lease_.release();
  for (int i = 0; i < 5; ++i) {
    auto all = session_.lease({.cores = free + 1});
    ASSERT_TRUE(all) << all.error().what();
    all->release();
  }
  auto too_many = session_.lease({.cores = free + 2});
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().kind(), ErrorKind::kOverloaded);
}

TEST_F(Client, EndsItsCallsWhenTheExecutorManagerIsKilled) {
  open({TestNode{}}, {.worker_wait = 100ms});
  std::atomic<int> lost{0};
  lease_.on_lost([&](const std::string&) { ++lost; });
  Function spin = function("spin_ms");
  const std::uint32_t ms = 60'000;
  std::uint32_t out;
  Call call = spin.async(&ms, 4, &out, 4);
  managers_->node(0).signal(SIGKILL);
  EXPECT_EQ(call.wait_for(20s).status, Status::kLost);
  EXPECT_TRUE(eventually([&] { return lost.load() == 1; }));
  const Reply after = spin.call(&ms, 4, &out, 4);
  EXPECT_EQ(after.status, Status::kClosed);
  EXPECT_NE(spin.last_error().find("executor manager"), std::string::npos) << spin.last_error();
}

TEST_F(Client, DoesNotNoticeThatTheResourceManagerIsKilled) {
  open();
  auto multiply = typed<double(Pair)>("multiply");
  managers_->resource_manager().signal(SIGKILL);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(multiply(Pair{1.0 * i, 2}).value_or_throw(), 2.0 * i);
  EXPECT_FALSE(lease_.extend(1h));
  managers_->start_resource_manager();
  managers_->wait_for_nodes(1);
  EXPECT_EQ(managers_->leases().size(), 1u);
  EXPECT_TRUE(multiply(Pair{1, 2}));
}

TEST_F(Client, AnswersAtOnceWhenNoManagerIsThere) {
  SessionOptions options;
  options.manager = "unix:/nonexistent/manager.sock";
  auto session = Session::open(options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().kind(), ErrorKind::kDisconnected);
  EXPECT_NE(std::string(session.error().what()).find("/nonexistent/manager.sock"),
            std::string::npos);
  EXPECT_NE(std::string(session.error().what()).find("SUBLET_MANAGER"), std::string::npos);
}

TEST_F(Client, RefusesAGrantThatWasAltered) {
  open();
  auto grants = session_.request({});
  ASSERT_TRUE(grants) << grants.error().what();
  auto forged = *grants;
  forged[0].sealed[40] ^= std::byte{1};
  auto denied = session_.claim(forged);
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().kind(), ErrorKind::kDenied);
  EXPECT_TRUE(session_.claim(*grants));
}

TEST_F(Client, ServesEachThreadWithALeaseOfItsOwn) {
  open();
  std::vector<std::thread> threads;
  threads.reserve(2);
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      auto lease = session_.lease().value_or_throw();
      auto multiply = lease.function<double(Pair)>(CLIENT_FUNCTIONS, "multiply").value_or_throw();
      for (int i = 0; i < 300; ++i) {
        EXPECT_EQ(multiply(Pair{1.0 * i, 2}).value_or_throw(), 2.0 * i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Client, RecordsATimelineWhenAsked) {
  start();
  SessionOptions options = managers_->session_options();
  options.trace = true;
  session_ = Session::open(options).value_or_throw();
  lease_ = session_.lease().value_or_throw();
  auto multiply = typed<double(Pair)>("multiply");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(multiply(Pair{1, 2}));
  const std::string events = session_.trace_events("client", 1);
  std::size_t slices = 0;
  for (std::size_t at = 0; (at = events.find("\"name\":\"multiply\"", at)) != std::string::npos;
       ++at) {
    ++slices;
  }
  EXPECT_EQ(slices, 10u);
}

}  // namespace
}  // namespace sublet
