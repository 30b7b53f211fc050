#include <sublet/sublet.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory_resource>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;

/// True when `result` is an Error of kind kInvalid that names `what` as empty.
template <class T>
testing::AssertionResult says_empty(const Result<T>& result, const std::string& what) {
  if (result) return testing::AssertionFailure() << "it succeeded";
  if (result.error().kind() != ErrorKind::kInvalid ||
      std::string(result.error().what()).find("this " + what + " is empty") == std::string::npos) {
    return testing::AssertionFailure()
           << to_string(result.error().kind()) << ": " << result.error().what();
  }
  return testing::AssertionSuccess();
}

void expect_refusals(Session& session) {
  EXPECT_FALSE(session.valid());
  EXPECT_TRUE(says_empty(session.lease(), "Session"));
  EXPECT_TRUE(says_empty(session.request({}), "Session"));
  session.give_back({Grant()});
  EXPECT_TRUE(says_empty(session.claim({Grant()}), "Session"));
  EXPECT_TRUE(says_empty(session.claim({}), "Session"));
  EXPECT_TRUE(says_empty(session.nodes(), "Session"));
  EXPECT_TRUE(says_empty(session.leases(), "Session"));
  EXPECT_TRUE(says_empty(session.write_trace("/dev/null"), "Session"));
  EXPECT_EQ(session.trace_events("client", 1), "");
  EXPECT_EQ(session.manager_address(), "none");
  EXPECT_FALSE(session.manager_is_private());
}

TEST(EmptySession, RefusesEverything) {
  Session session;
  expect_refusals(session);
}

TEST(EmptySession, IsWhatAMovedOneLeaves) {
  Session session = Session::open_detached({}).value_or_throw();
  EXPECT_TRUE(session.valid());
  const Session taken = std::move(session);
  EXPECT_TRUE(taken.valid());
  expect_refusals(session);
}

TEST(EmptyLease, RefusesEverythingThatCanFail) {
  Lease lease;
  EXPECT_FALSE(lease.valid());
  EXPECT_TRUE(says_empty(lease.function("libwork.so", "scale"), "Lease"));
  EXPECT_TRUE(says_empty(lease.function<double(double)>("libwork.so", "scale"), "Lease"));
  EXPECT_TRUE(says_empty(lease.buffer<double>(10), "Lease"));
  EXPECT_TRUE(says_empty(lease.buffer<double>(0), "Lease"));
  EXPECT_TRUE(says_empty(lease.extend(1s), "Lease"));
  EXPECT_TRUE(says_empty(lease.usage(), "Lease"));
}

TEST(EmptyLease, HasNothing) {
  Lease lease;
  EXPECT_EQ(lease.id(), 0u);
  EXPECT_EQ(lease.workers(), 0u);
  EXPECT_EQ(lease.worker(0).node_name, "");
  EXPECT_EQ(lease.expires_at(), std::chrono::system_clock::time_point());
  EXPECT_TRUE(lease.wait_all(0s)) << "no call is under way";
  lease.progress();
  lease.on_ending([](const EndingNotice&) { ADD_FAILURE() << "nothing can end"; });
  lease.on_lost([](const std::string&) { ADD_FAILURE() << "nothing can be lost"; });
  lease.release();
}

TEST(EmptyLease, HasAnArenaWithoutMemory) {
  Lease lease;
  const auto arena = lease.arena();
  ASSERT_NE(arena, nullptr);
  std::pmr::vector<double> numbers(arena.get());
  EXPECT_THROW(numbers.push_back(1), std::bad_alloc);
  EXPECT_THROW(Buffer<double>(arena, 10), std::bad_alloc);
}

TEST(EmptyFunction, EndsEachCallAtOnce) {
  Function function;
  EXPECT_FALSE(function.valid());
  EXPECT_EQ(function.name(), "");
  const double in = 1;
  double out = 0;
  EXPECT_EQ(function.call(&in, sizeof(in), &out, sizeof(out)).status, Status::kInvalid);
  EXPECT_NE(function.last_error().find("this Function is empty"), std::string::npos);

  Call call = function.async(&in, sizeof(in), &out, sizeof(out));
  EXPECT_TRUE(call.poll());
  EXPECT_EQ(call.wait().status, Status::kInvalid);
  EXPECT_EQ(function.try_async(0, &in, sizeof(in), &out, sizeof(out), call), Status::kInvalid);
  EXPECT_FALSE(call.valid());

  std::array<BatchItem, 2> items;
  EXPECT_TRUE(says_empty(function.batch(items, 1s), "Function"));
}

TEST(EmptyFunction, IsTheSameWithASignature) {
  TypedFunction<double(double)> function;
  EXPECT_TRUE(says_empty(function(1.0), "Function"));
  double out = 0;
  EXPECT_EQ(function.async(1.0, out).wait().status, Status::kInvalid);
}

TEST(EmptyCall, HasEnded) {
  Call call;
  EXPECT_FALSE(call.valid());
  EXPECT_TRUE(call.poll());
  EXPECT_EQ(call.wait().status, Status::kInvalid);
  EXPECT_EQ(call.wait_for(0ns).status, Status::kInvalid);
  EXPECT_NE(call.error().find("this Call is empty"), std::string::npos);
  Call other = std::move(call);
  other = Call();
  EXPECT_FALSE(other.valid());
}

TEST(EmptyCall, RunsItsContinuationAtOnce) {
  Call call;
  int runs = 0;
  call.then([&](const Reply& reply) {
    ++runs;
    EXPECT_EQ(reply.status, Status::kInvalid);
  });
  EXPECT_EQ(runs, 1);
  call.then(nullptr);
}

TEST(EmptyBuffer, HoldsNothing) {
  Buffer<double> buffer;
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(buffer.size_bytes(), 0u);
  EXPECT_TRUE(buffer.span().empty());
  EXPECT_EQ(buffer.begin(), buffer.end());
  Buffer<double> other = std::move(buffer);
  EXPECT_EQ(other.size(), 0u);
  EXPECT_THROW(Buffer<double>(nullptr, 1), std::invalid_argument);
}

TEST(EmptyGrant, IsRefusedByWhoeverGetsIt) {
  const auto read = Grant::from_bytes(Grant().to_bytes());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::kInvalid);
  auto session = Session::open_detached({}).value_or_throw();
  EXPECT_FALSE(session.claim({Grant()}));
}

}  // namespace
}  // namespace sublet
