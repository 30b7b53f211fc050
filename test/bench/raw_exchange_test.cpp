#include <bench/cpus.hpp>
#include <bench/exchange.hpp>
#include <bench/raw_exchange.hpp>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <optional>

namespace sublet::bench {
namespace {

constexpr std::size_t kMaxPayload = std::size_t{1} << 20;

class RawExchangeTest : public testing::Test {
 protected:
  void SetUp() override {
    auto raw = RawExchange::start(kMaxPayload);
    ASSERT_TRUE(raw) << raw.error().what();
    raw_.emplace(std::move(*raw));
  }

  template <RawKind kKind>
  void expect_echo(std::size_t size) {
    RawSide<kKind> side(*raw_, size);
    const auto begun = side.begin();
    ASSERT_TRUE(begun) << begun.error().what();
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(side.checked_one()) << size << " bytes";
    const auto ended = side.end();
    ASSERT_TRUE(ended) << ended.error().what();
  }

  std::optional<RawExchange> raw_;
};

TEST_F(RawExchangeTest, BringsAllBytesBackWhenHot) {
  for (const std::size_t size : {1u, 8u, 9u, 1024u, 65536u, 1u << 20}) {
    expect_echo<RawKind::kHot>(size);
  }
}

TEST_F(RawExchangeTest, BringsAllBytesBackWhenWarm) {
  for (const std::size_t size : {1u, 8u, 9u, 1024u, 65536u}) expect_echo<RawKind::kWarm>(size);
}

TEST_F(RawExchangeTest, MeasuresTheBouncedLineBetweenExchanges) {
  for (int i = 0; i < 3; ++i) {
    expect_echo<RawKind::kHot>(8);
    const auto line = raw_->bounced_line_ns();
    ASSERT_TRUE(line) << line.error().what();
    EXPECT_GT(*line, 0);
  }
}

TEST_F(RawExchangeTest, StreamsBetweenExchanges) {
  for (const std::size_t size : {1u, 9u, 1000u, 65536u}) {
    ASSERT_TRUE(raw_->begin(RawKind::kStream, size));
    for (const std::uint64_t count : {1u, 16u, 17u, 100u}) {
      const auto bandwidth = raw_->write_bandwidth(size, count, kStreamWindow);
      ASSERT_TRUE(bandwidth) << bandwidth.error().what();
      EXPECT_GT(*bandwidth, 0);
    }
    ASSERT_TRUE(raw_->end());
    expect_echo<RawKind::kHot>(size);
  }
  EXPECT_FALSE(raw_->write_bandwidth(kMaxPayload, 1, 2));
}

TEST_F(RawExchangeTest, SaysThatTheServerHasDiedInAStream) {
  ASSERT_TRUE(raw_->begin(RawKind::kStream, 1000));
  ASSERT_EQ(::kill(raw_->server(), SIGKILL), 0);
  EXPECT_FALSE(raw_->write_bandwidth(1000, 100, 3));
}

TEST_F(RawExchangeTest, RefusesAPayloadLargerThanItsArea) {
  EXPECT_FALSE(raw_->begin(RawKind::kHot, kMaxPayload + 1));
}

TEST_F(RawExchangeTest, SaysThatTheServerHasDiedInsteadOfWaitingForIt) {
  ASSERT_TRUE(raw_->begin(RawKind::kHot, 8));
  RawSide<RawKind::kHot> side(*raw_, 8);
  ASSERT_EQ(::kill(raw_->server(), SIGKILL), 0);
  EXPECT_FALSE(side.one());
  const auto ended = raw_->end();
  ASSERT_FALSE(ended);
  EXPECT_NE(std::string(ended.error().what()).find("ended"), std::string::npos);
}

TEST_F(RawExchangeTest, LeavesNoProcessBehind) {
  raw_.reset();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace sublet::bench
