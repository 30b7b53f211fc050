#include <gtest/gtest.h>
#include <web/load_history.hpp>

namespace sublet::manager::web {
namespace {

/// A book with one node, a grant of 2 cores on it, and a clock.
class LoadHistoryTest : public testing::Test {
 protected:
  LoadHistoryTest()
      : book_(LeaseBook::Limits{}, LeaseId{1000}, [](std::span<std::byte> bytes) {
          for (std::byte& byte : bytes) byte = std::byte{7};
        }) {
    NodeOffer offer;
    offer.name = offer.node_id = "n1";
    offer.cores = 8;
    offer.memory_bytes = 1u << 30;
    const auto registered = book_.register_node(offer, {}, now_);
    const auto grants = book_.reserve({.cores = 2}, {}, now_);
    key_ = grants.value().front().key;
    EXPECT_EQ(key_.node, registered.value().node);
    book_.confirmed(key_, now_);
  }
  void pass(milliseconds time) { now_ += time; }
  void use(std::uint64_t calls, std::uint64_t compute_ns) {
    usage_.invocations += calls;
    usage_.compute_ns += compute_ns;
    book_.usage(key_, usage_);
  }

  Time now_{milliseconds(1'800'000'000'000)};
  LeaseBook book_;
  GrantKey key_;
  Usage usage_;
  LoadHistory history_;
};

TEST_F(LoadHistoryTest, TellsRatesOfTheLastTenSeconds) {
  history_.note(book_, now_);
  EXPECT_EQ(history_.rates().calls_per_s, 0);
  for (int second = 0; second < 20; ++second) {
    pass(milliseconds(1000));
    use(second < 10 ? 1 : 100, second < 10 ? 0 : 500'000'000);
    history_.note(book_, now_);
  }
  EXPECT_DOUBLE_EQ(history_.rates().calls_per_s, 100);
  EXPECT_DOUBLE_EQ(history_.rates().busy_cores, 0.5);
  EXPECT_DOUBLE_EQ(history_.rates().mean_call_ns, 5e6);
}

TEST_F(LoadHistoryTest, TellsHowLongTheCallsOfTheLastTenSecondsRan) {
  wire::CallTimes slow;
  slow.calls[wire::call_time_bucket(1'000'000'000)] = 1000;
  book_.call_times(slow);
  history_.note(book_, now_);
  wire::CallTimes more;
  more.calls[wire::call_time_bucket(1000)] = 97;
  more.calls[wire::call_time_bucket(1'000'000)] = 3;
  book_.call_times(more);
  pass(milliseconds(1000));
  history_.note(book_, now_);
  EXPECT_NEAR(history_.rates().median_call_ns, 1000, 190);
  EXPECT_NEAR(history_.rates().p99_call_ns, 1e6, 190e3);
}

TEST_F(LoadHistoryTest, KeepsAnHour) {
  for (int second = 0; second < 4000; ++second) {
    history_.note(book_, now_);
    pass(milliseconds(1000));
  }
  EXPECT_EQ(history_.points().size(), LoadHistory::kPoints);
  EXPECT_EQ(history_.points().back().cores, 8u);
  EXPECT_EQ(history_.points().back().held, 2u);
  EXPECT_EQ(history_.points().back().at_ms - history_.points().front().at_ms,
            static_cast<std::int64_t>(LoadHistory::kPoints - 1) * LoadHistory::kStepMs);
}

TEST_F(LoadHistoryTest, CountsWhatEndedLeasesHaveUsed) {
  use(10, 1000);
  book_.ended(key_, {.invocations = 15, .compute_ns = 1500}, "a test");
  EXPECT_EQ(book_.totals().used.invocations, 15u);
  EXPECT_EQ(book_.totals().used.compute_ns, 1500u);
  EXPECT_EQ(book_.totals().granted, 1u);
  EXPECT_EQ(book_.totals().ended.at(static_cast<std::size_t>(GrantEnd::kReported)), 1u);
}

}  // namespace
}  // namespace sublet::manager::web
