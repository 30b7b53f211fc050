#include <bench/options.hpp>
#include <gtest/gtest.h>

namespace sublet::bench {
namespace {

/// The error text of words that must be refused.
std::string refusal(const std::vector<std::string>& words) {
  const auto options = parse_bench(words);
  if (options) return "accepted";
  EXPECT_EQ(options.error().kind(), ErrorKind::kInvalid);
  return options.error().what();
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// These tests choose cores by themselves; a machine with one cannot run benchmarks at all.
class BenchOptionsTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto allowed = allowed_cpus();
    ASSERT_TRUE(allowed);
    if (allowed->size() < 2) GTEST_SKIP() << "benchmarks need two cores";
  }
};

TEST_F(BenchOptionsTest, TakeLatencyDefaults) {
  const auto options = parse_bench({"latency"});
  ASSERT_TRUE(options) << options.error().what();
  const auto& latency = std::get<LatencyOptions>(*options);
  EXPECT_EQ(latency.mode, Mode::kHot);
  EXPECT_EQ(latency.sizes, (std::vector<std::size_t>{8, 1024, 65536}));
  EXPECT_NE(latency.cpus.client, latency.cpus.worker);
  EXPECT_FALSE(latency.cpus_given);
}

TEST_F(BenchOptionsTest, TakeAllOfLatency) {
  const auto allowed = allowed_cpus();
  const std::string cpus = std::to_string(allowed->at(1)) + "," + std::to_string(allowed->at(0));
  const auto options = parse_bench({"latency", "--mode", "warm", "--sizes", "1,67108864",
                                    "--iterations", "77", "--warmup=0", "--cpus", cpus, "--json",
                                    "out.json", "--compare", "--manager", "unix:/run/m"});
  ASSERT_TRUE(options) << options.error().what();
  const auto& latency = std::get<LatencyOptions>(*options);
  EXPECT_EQ(latency.mode, Mode::kWarm);
  EXPECT_EQ(latency.sizes, (std::vector<std::size_t>{1, 67108864}));
  EXPECT_EQ(latency.iterations, 77u);
  EXPECT_EQ(latency.warmup, 0u);
  EXPECT_EQ(latency.cpus.client, allowed->at(1));
  EXPECT_EQ(latency.cpus.worker, allowed->at(0));
  EXPECT_TRUE(latency.cpus_given);
  EXPECT_EQ(latency.json_file, "out.json");
  EXPECT_EQ(latency.manager, "unix:/run/m");
  EXPECT_TRUE(latency.compare);
}

TEST_F(BenchOptionsTest, TakeRateAndCold) {
  const auto rate = parse_bench({"rate", "--windows", "1,16", "--size", "64"});
  ASSERT_TRUE(rate) << rate.error().what();
  EXPECT_EQ(std::get<RateOptions>(*rate).windows, (std::vector<std::uint32_t>{1, 16}));
  EXPECT_EQ(std::get<RateOptions>(*rate).size, 64u);
  const auto isolation = parse_bench({"isolation", "--image", "debian:12"});
  ASSERT_TRUE(isolation) << isolation.error().what();
  EXPECT_EQ(std::get<IsolationOptions>(*isolation).image, "debian:12");
  const auto cold = parse_bench({"cold", "--iterations", "3"});
  ASSERT_TRUE(cold) << cold.error().what();
  EXPECT_EQ(std::get<ColdOptions>(*cold).iterations, 3u);
}

TEST_F(BenchOptionsTest, TakeBandwidthAndItsDefaults) {
  const auto by_default = parse_bench({"bandwidth"});
  ASSERT_TRUE(by_default) << by_default.error().what();
  const auto& defaults = std::get<BandwidthOptions>(*by_default);
  EXPECT_EQ(defaults.sizes, (std::vector<std::size_t>{65536, 1048576}));
  EXPECT_EQ(defaults.window, 16u);
  EXPECT_EQ(defaults.transport, transport::kind_named("shm"));

  const auto told = parse_bench({"bandwidth", "--sizes", "1,4096", "--window", "3", "--transport",
                                 "fabric", "--iterations", "9", "--warmup", "0"});
  ASSERT_TRUE(told) << told.error().what();
  const auto& bandwidth = std::get<BandwidthOptions>(*told);
  EXPECT_EQ(bandwidth.sizes, (std::vector<std::size_t>{1, 4096}));
  EXPECT_EQ(bandwidth.window, 3u);
  EXPECT_EQ(bandwidth.transport, transport::kind_named("fabric"));
  EXPECT_EQ(bandwidth.iterations, 9u);
  EXPECT_EQ(bandwidth.warmup, 0u);
}

TEST_F(BenchOptionsTest, TakeConnectAndItsDefaults) {
  const auto by_default = parse_bench({"connect"});
  ASSERT_TRUE(by_default) << by_default.error().what();
  EXPECT_EQ(std::get<ConnectOptions>(*by_default).counts,
            (std::vector<std::uint32_t>{8, 16, 32, 64}));

  const auto told = parse_bench(
      {"connect", "--counts", "2,1024", "--transport", "verbs", "--iterations", "5", "--warmup=0"});
  ASSERT_TRUE(told) << told.error().what();
  const auto& connect = std::get<ConnectOptions>(*told);
  EXPECT_EQ(connect.counts, (std::vector<std::uint32_t>{2, 1024}));
  EXPECT_EQ(connect.transport, transport::kind_named("verbs"));
  EXPECT_EQ(connect.iterations, 5u);
  EXPECT_EQ(connect.warmup, 0u);

  EXPECT_TRUE(mentions(refusal({"connect", "--counts", "8,0"}), "not between 1 and 1024"));
  EXPECT_TRUE(mentions(refusal({"connect", "--counts", "1025"}), "not between 1 and 1024"));
  EXPECT_TRUE(mentions(refusal({"connect", "--sizes", "8"}), "--sizes"));
}

TEST_F(BenchOptionsTest, RefuseAWindowThatWouldNotFitTheArena) {
  EXPECT_TRUE(parse_bench({"bandwidth", "--sizes", "67108864", "--window", "8"}));
  EXPECT_TRUE(mentions(refusal({"bandwidth", "--sizes", "8,67108864", "--window", "9"}),
                       "9 calls of 67108864 bytes are more than"));
  EXPECT_TRUE(mentions(refusal({"bandwidth", "--sizes", "67108864"}), "16 calls of 67108864"));
  EXPECT_TRUE(mentions(refusal({"bandwidth", "--window", "0"}), "not between 1 and 1024"));
  EXPECT_TRUE(mentions(refusal({"bandwidth", "--window", "1025"}), "not between 1 and 1024"));
  EXPECT_TRUE(mentions(refusal({"bandwidth", "--sizes", "0"}), "not between 1 and 67108864"));
  EXPECT_TRUE(mentions(refusal({"bandwidth", "--windows", "4,8"}), "--windows"));
}

TEST_F(BenchOptionsTest, TakeFewerCallsForColdLatencyUnlessToldHowMany) {
  const auto by_default = parse_bench({"latency", "--mode", "cold"});
  ASSERT_TRUE(by_default) << by_default.error().what();
  EXPECT_EQ(std::get<LatencyOptions>(*by_default).iterations, ColdOptions{}.iterations);
  EXPECT_EQ(std::get<LatencyOptions>(*by_default).warmup, ColdOptions{}.warmup);
  const auto told = parse_bench({"latency", "--warmup", "9", "--iterations", "8", "--mode=cold"});
  ASSERT_TRUE(told) << told.error().what();
  EXPECT_EQ(std::get<LatencyOptions>(*told).iterations, 8u);
  EXPECT_EQ(std::get<LatencyOptions>(*told).warmup, 9u);
}

TEST_F(BenchOptionsTest, RefuseBadSizesNamingThem) {
  for (const std::string bad : {"0", "8,0", "67108865", "18446744073709551616"}) {
    EXPECT_TRUE(mentions(refusal({"latency", "--sizes", bad}), "not between 1 and 67108864"))
        << bad << ": " << refusal({"latency", "--sizes", bad});
  }
  for (const std::string bad : {"8k", "x", ",8", "8,", "8,,9", " 8", "1e3", "0x10"}) {
    EXPECT_TRUE(mentions(refusal({"latency", "--sizes=" + bad}), "is no whole number"))
        << bad << ": " << refusal({"latency", "--sizes=" + bad});
  }
  EXPECT_TRUE(mentions(refusal({"latency", "--sizes="}), "--sizes"));
  EXPECT_TRUE(mentions(refusal({"latency", "--sizes=-8"}), "'-8' is no whole number"));
  EXPECT_TRUE(mentions(refusal({"latency", "--sizes", "-8"}), "--sizes"));
}

TEST_F(BenchOptionsTest, RefuseTooManySizes) {
  std::string sizes = "8";
  for (std::size_t i = 0; i < kMaxRows; ++i) sizes += ",8";
  EXPECT_TRUE(mentions(refusal({"latency", "--sizes", sizes}), "65 values"));
}

TEST_F(BenchOptionsTest, RefuseAnUnknownModeOptionArgumentOrBenchmark) {
  EXPECT_TRUE(mentions(refusal({"latency", "--mode", "tepid"}), "none of hot, warm, cold"));
  EXPECT_TRUE(mentions(refusal({"latency", "--frobnicate"}), "frobnicate"));
  EXPECT_TRUE(mentions(refusal({"latency", "stray"}), "stray"));
  EXPECT_TRUE(mentions(refusal({"speed"}), "speed"));
  EXPECT_TRUE(mentions(
      refusal({}), "latency, cold, isolation, rate, bandwidth, connect, wide or single-source"));
  EXPECT_TRUE(mentions(refusal({"rate", "--mode", "hot"}), "mode"));
}

TEST_F(BenchOptionsTest, RefuseBadNumbers) {
  EXPECT_TRUE(mentions(refusal({"latency", "--iterations", "0"}), "not between 1"));
  EXPECT_TRUE(mentions(refusal({"latency", "--iterations=-1"}), "no whole number"));
  EXPECT_TRUE(mentions(refusal({"rate", "--windows", "0"}), "not between 1 and 1024"));
  EXPECT_TRUE(mentions(refusal({"rate", "--windows", "1025"}), "not between 1 and 1024"));
  EXPECT_TRUE(mentions(refusal({"cold", "--json="}), "json"));
}

TEST_F(BenchOptionsTest, OfAWideWorkerAreItsCoresAndItsWork) {
  const auto by_default = parse_bench({"wide"});
  ASSERT_TRUE(by_default) << by_default.error().what();
  EXPECT_EQ(std::get<WideOptions>(*by_default).cores, 2u);
  const auto told = parse_bench({"wide", "--cores", "8", "--options", "1000"});
  ASSERT_TRUE(told) << told.error().what();
  EXPECT_EQ(std::get<WideOptions>(*told).cores, 8u);
  EXPECT_EQ(std::get<WideOptions>(*told).options, 1000u);
  EXPECT_TRUE(mentions(refusal({"wide", "--cores", "1"}), "not between 2 and 4096"));
  EXPECT_TRUE(mentions(refusal({"wide", "--cores=-2"}), "no whole number"));
  EXPECT_TRUE(mentions(refusal({"wide", "--options", "0"}), "not between 1"));
  EXPECT_TRUE(mentions(refusal({"wide", "--cpus", "0,1"}), "needs no core of its own"));
}

TEST_F(BenchOptionsTest, RefuseToCompareColdStartsWithOpenMpi) {
  EXPECT_TRUE(mentions(refusal({"latency", "--mode", "cold", "--compare"}), "--compare"));
}

TEST_F(BenchOptionsTest, ExplainThemselves) {
  for (const std::string benchmark :
       {"latency", "cold", "isolation", "rate", "bandwidth", "connect", "single-source", "wide"}) {
    const auto options = parse_bench({benchmark, "--help"});
    ASSERT_TRUE(options) << options.error().what();
    EXPECT_TRUE(mentions(std::get<HelpText>(*options).text, "--cpus")) << benchmark;
  }
  const auto all = parse_bench({"--help"});
  ASSERT_TRUE(all) << all.error().what();
  EXPECT_TRUE(mentions(std::get<HelpText>(*all).text, "latency"));
  EXPECT_TRUE(mentions(std::get<HelpText>(*all).text, "bandwidth"));
}

}  // namespace
}  // namespace sublet::bench
