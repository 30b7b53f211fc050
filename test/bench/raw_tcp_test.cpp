#include <bench/cpus.hpp>
#include <bench/raw_tcp.hpp>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <optional>
#include <vector>

namespace sublet::bench {
namespace {

constexpr std::size_t kMaxPayload = std::size_t{2} << 20;

class RawTcpExchangeTest : public testing::Test {
 protected:
  void SetUp() override {
    auto raw = RawTcpExchange::start(kMaxPayload);
    ASSERT_TRUE(raw) << raw.error().what();
    raw_.emplace(std::move(*raw));
  }

  void expect_echo(RawKind kind, std::size_t size) {
    const auto begun = raw_->begin(kind, size);
    ASSERT_TRUE(begun) << begun.error().what();
    std::vector<std::byte> in(size);
    std::vector<std::byte> out(size);
    for (int i = 0; i < 10; ++i) {
      for (std::size_t k = 0; k < size; ++k) in[k] = static_cast<std::byte>(k * 37 + k / 256 + i);
      ASSERT_TRUE(kind == RawKind::kHot ? raw_->exchange_hot(in.data(), out.data())
                                        : raw_->exchange_warm(in.data(), out.data()));
      ASSERT_EQ(in, out) << size << " bytes";
    }
    const auto ended = raw_->end();
    ASSERT_TRUE(ended) << ended.error().what();
  }

  std::optional<RawTcpExchange> raw_;
};

TEST_F(RawTcpExchangeTest, BringsAllBytesBackWhenHot) {
  for (const std::size_t size : {0u, 1u, 8u, 9u, 1024u, 65536u, 2u << 20}) {
    expect_echo(RawKind::kHot, size);
  }
}

TEST_F(RawTcpExchangeTest, BringsAllBytesBackWhenWarm) {
  for (const std::size_t size : {0u, 1u, 8u, 9u, 1024u, 65536u}) expect_echo(RawKind::kWarm, size);
}

TEST_F(RawTcpExchangeTest, EndsWithoutAnExchange) {
  for (const RawKind kind : {RawKind::kHot, RawKind::kWarm}) {
    ASSERT_TRUE(raw_->begin(kind, 0));
    ASSERT_TRUE(raw_->end());
  }
  expect_echo(RawKind::kHot, 8);
}

TEST_F(RawTcpExchangeTest, StreamsBetweenExchanges) {
  for (const std::size_t size : {1u, 1000u, 65536u}) {
    ASSERT_TRUE(raw_->begin(RawKind::kStream, size));
    for (const std::uint64_t count : {1u, 40u}) {
      const auto bandwidth = raw_->write_bandwidth(size, count, kStreamWindow);
      ASSERT_TRUE(bandwidth) << bandwidth.error().what();
      EXPECT_GT(*bandwidth, 0);
    }
    ASSERT_TRUE(raw_->end());
    expect_echo(RawKind::kHot, size);
  }
  EXPECT_FALSE(raw_->write_bandwidth(kMaxPayload, 1, 2));
}

TEST_F(RawTcpExchangeTest, SaysThatTheServerHasDiedInAStream) {
  ASSERT_TRUE(raw_->begin(RawKind::kStream, 1000));
  ASSERT_EQ(::kill(raw_->server(), SIGKILL), 0);
  EXPECT_FALSE(raw_->write_bandwidth(1000, 100, 3));
}

TEST_F(RawTcpExchangeTest, CanBePinned) {
  const auto cpus = allowed_cpus();
  ASSERT_TRUE(cpus);
  ASSERT_TRUE(raw_->pin_server(cpus->back()));
  expect_echo(RawKind::kHot, 8);
}

TEST_F(RawTcpExchangeTest, RefusesAPayloadLargerThanItsArea) {
  EXPECT_FALSE(raw_->begin(RawKind::kHot, kMaxPayload + 1));
}

TEST_F(RawTcpExchangeTest, SaysThatTheServerHasDiedInsteadOfWaitingForIt) {
  ASSERT_TRUE(raw_->begin(RawKind::kHot, 8));
  ASSERT_EQ(::kill(raw_->server(), SIGKILL), 0);
  std::vector<std::byte> payload(8);
  EXPECT_FALSE(raw_->exchange_hot(payload.data(), payload.data()));
  const auto ended = raw_->end();
  ASSERT_FALSE(ended);
  EXPECT_NE(std::string(ended.error().what()).find("ended"), std::string::npos);
}

TEST_F(RawTcpExchangeTest, LeavesNoProcessBehind) {
  raw_.reset();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace sublet::bench
