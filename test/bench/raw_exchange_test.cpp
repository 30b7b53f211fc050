#include <bench/cpus.hpp>
#include <bench/raw_transport.hpp>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>

namespace sublet::bench {
namespace {

constexpr std::size_t kMaxPayload = std::size_t{2} << 20;

/// The bare exchange of every transport.
class RawExchangeTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto raw = start_raw(kind(), kMaxPayload);
    const bool must_be_there =
        kind() == transport::Kind::kVerbs && std::getenv("SUBLET_RDMA_GUEST") != nullptr;
    if (!raw && raw.error().kind() == ErrorKind::kUnsupported && !must_be_there) {
      GTEST_SKIP() << GetParam() << " cannot be used here: " << raw.error().what();
    }
    ASSERT_TRUE(raw) << raw.error().what();
    raw_ = std::move(*raw);
  }

  static transport::Kind kind() { return *wire::transport_named(GetParam()); }

  /// A batch of `calls`, every byte of the first compared, the marks of all.
  Result<std::vector<double>> batch(RawKind kind, std::size_t size, std::uint64_t calls = 20) {
    PrivatePayload payload(size);
    return raw_->run_batch(kind, payload,
                           {.max_samples = 1, .warmup_calls = calls, .checked = true});
  }
  void expect_echo(RawKind kind, std::size_t size) {
    const auto samples = batch(kind, size);
    ASSERT_TRUE(samples) << size << " bytes: " << samples.error().what();
    ASSERT_EQ(samples->size(), 1u);
    EXPECT_GT(samples->front(), 0);
  }
  template <class T>
  static void expect_ended(const Result<T>& result) {
    ASSERT_FALSE(result);
    EXPECT_NE(std::string(result.error().what()).find("has ended"), std::string::npos)
        << result.error().what();
  }

  std::unique_ptr<RawExchange> raw_;
};

TEST_P(RawExchangeTest, BringsAllBytesBackWhenHot) {
  for (const std::size_t size : {0u, 1u, 8u, 9u, 1024u, 65536u, 2u << 20}) {
    expect_echo(RawKind::kHot, size);
  }
}

TEST_P(RawExchangeTest, BringsAllBytesBackWhenWarm) {
  for (const std::size_t size : {0u, 1u, 8u, 9u, 1024u, 65536u}) expect_echo(RawKind::kWarm, size);
}

TEST_P(RawExchangeTest, EndsWithoutAnExchange) {
  for (const RawKind kind : {RawKind::kHot, RawKind::kWarm, RawKind::kStream}) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{64}}) {
      ASSERT_TRUE(raw_->begin(kind, size));
      ASSERT_TRUE(raw_->end());
    }
  }
  expect_echo(RawKind::kHot, 8);
}

TEST_P(RawExchangeTest, MeasuresTheBouncedLineOverSharedMemoryOnly) {
  for (int i = 0; i < 3; ++i) {
    const auto line = raw_->bounced_line_ns();
    ASSERT_TRUE(line) << line.error().what();
    if (kind() == transport::Kind::kShm) {
      EXPECT_GT(*line, 0);
    } else {
      EXPECT_EQ(*line, 0);
    }
    expect_echo(RawKind::kHot, 8);
  }
}

TEST_P(RawExchangeTest, StreamsBetweenExchanges) {
  for (const std::size_t size : {1u, 9u, 1000u, 65536u}) {
    ASSERT_TRUE(raw_->begin(RawKind::kStream, size));
    for (const std::uint64_t count : {1u, 16u, 17u, 100u}) {
      const auto bandwidth = raw_->write_bandwidth(size, count, kStreamWindow);
      ASSERT_TRUE(bandwidth) << bandwidth.error().what();
      EXPECT_GT(*bandwidth, 0);
    }
    ASSERT_TRUE(raw_->end());
    expect_echo(RawKind::kHot, size);
  }
}

TEST_P(RawExchangeTest, RefusesWhatIsLargerThanItsArea) {
  EXPECT_FALSE(raw_->begin(RawKind::kHot, kMaxPayload + 1));
  ASSERT_TRUE(raw_->begin(RawKind::kStream, kMaxPayload));
  EXPECT_FALSE(raw_->write_bandwidth(kMaxPayload, 1, 2));
  EXPECT_TRUE(raw_->end());
}

TEST_P(RawExchangeTest, CanBePinned) {
  const auto cpus = allowed_cpus();
  ASSERT_TRUE(cpus);
  ASSERT_TRUE(raw_->pin_server(cpus->back()));
  expect_echo(RawKind::kHot, 8);
}

TEST_P(RawExchangeTest, SaysThatTheServerHasDiedInsteadOfWaitingForIt) {
  ASSERT_TRUE(raw_->begin(RawKind::kHot, 8));
  ASSERT_EQ(::kill(raw_->server(), SIGKILL), 0);
  expect_ended(raw_->end());
  expect_ended(batch(RawKind::kHot, 8));
  expect_ended(batch(RawKind::kWarm, 8));
}

TEST_P(RawExchangeTest, SaysThatTheServerHasDiedInAStream) {
  ASSERT_TRUE(raw_->begin(RawKind::kStream, 1000));
  ASSERT_EQ(::kill(raw_->server(), SIGKILL), 0);
  expect_ended(raw_->write_bandwidth(1000, 100, 3));
}

TEST_P(RawExchangeTest, LeavesNoProcessBehind) {
  raw_.reset();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

std::vector<const char*> all_transports() {
  std::vector<const char*> names;
  for (const RawTransport* raw : raw_transports()) names.push_back(to_string(raw->kind));
  return names;
}

INSTANTIATE_TEST_SUITE_P(Transports, RawExchangeTest, testing::ValuesIn(all_transports()),
                         [](const auto& raw) { return std::string(raw.param); });

TEST(RawTransports, AreTheTransportsEachOnceAndDescribed) {
  std::set<transport::Kind> kinds;
  for (const RawTransport* raw : raw_transports()) {
    EXPECT_TRUE(kinds.insert(raw->kind).second) << to_string(raw->kind);
    EXPECT_EQ(raw_transport(raw->kind), raw);
    for (const char* text : {raw->hot, raw->warm, raw->stream}) {
      ASSERT_NE(text, nullptr);
      EXPECT_NE(*text, '\0');
    }
  }
  EXPECT_FALSE(kinds.empty());
}

}  // namespace
}  // namespace sublet::bench
