#include "bench_run.hpp"
#include "support/temp_directory.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using nlohmann::json;

constexpr auto kLimit = 60s;

/// Runs `sublet bench` with a private manager and a folder of its own.
class SubletBench : public testing::Test {
 protected:
  void SetUp() override {
    cpu_set_t allowed;
    ASSERT_EQ(::sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    if (CPU_COUNT(&allowed) < 2) GTEST_SKIP() << "benchmarks need two cores";
  }

  /// The command line, in an environment where nobody else's manager is found.
  [[nodiscard]] BenchRun start(std::vector<std::string> words, bool terminal = false) const {
    words.insert(words.begin(), {SUBLET_COMMAND, "bench"});
    return BenchRun(words, {{"XDG_RUNTIME_DIR=" + folder_.string()}, terminal});
  }

  [[nodiscard]] std::string json_path() const { return (folder_ / "out.json").string(); }

  /// Runs it and returns the JSON it wrote.
  json measure(std::vector<std::string> words) const {
    words.insert(words.end(), {"--json", json_path()});
    BenchRun bench = start(words);
    const int code = bench.wait(kLimit);
    EXPECT_EQ(code, 0) << bench.errors();
    EXPECT_TRUE(bench.all_gone(30s)) << "left a process behind";
    EXPECT_EQ(bench.output().rfind("# Sublet", 0), 0u) << bench.output();
    std::ifstream file(json_path());
    return json::parse(file, nullptr, false);
  }

  /// Runs it, expects exit code 2 and returns what it said.
  std::string refusal(const std::vector<std::string>& words) const {
    BenchRun bench = start(words);
    EXPECT_EQ(bench.wait(kLimit), 2) << bench.errors();
    EXPECT_EQ(bench.output(), "");
    return bench.errors();
  }

  const TempDirectory temporary_;
  const fs::path folder_ = temporary_.path();
};

void expect_plausible(const json& row) {
  EXPECT_GT(row["p50_us"].get<double>(), 0) << row;
  EXPECT_LE(row["p50_us"].get<double>(), row["p95_us"].get<double>()) << row;
  EXPECT_LE(row["p95_us"].get<double>(), row["p99_us"].get<double>()) << row;
  EXPECT_GT(row["ratio_p50"].get<double>(), 0) << row;
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class SubletBenchLatency : public SubletBench, public testing::WithParamInterface<const char*> {};

TEST_P(SubletBenchLatency, WritesAPlausibleRowForEachSize) {
  const json report = measure({"latency", "--mode", GetParam(), "--sizes", "8,1024,65536",
                               "--iterations", "64", "--warmup", "4"});
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["benchmark"], "latency");
  EXPECT_EQ(report["transport"], "shm");
  EXPECT_EQ(report["mode"], GetParam());
  ASSERT_EQ(report["rows"].size(), 3u);
  const int sizes[] = {8, 1024, 65536};
  for (std::size_t i = 0; i < 3; ++i) {
    const json& row = report["rows"][i];
    EXPECT_EQ(row["size_bytes"], sizes[i]);
    expect_plausible(row);
    EXPECT_GT(row["raw_p50_us"].get<double>(), 0) << row;
    EXPECT_GT(row["bounced_line_ns"].get<double>(), 0) << row;
    EXPECT_GE(row["pairs"].get<int>(), 1) << row;
    EXPECT_LE(row["pairs_dropped"].get<int>(), row["pairs"].get<int>()) << row;
    EXPECT_GE(row["calls"].get<int>(), 64) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, SubletBenchLatency, testing::Values("hot", "warm"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_F(SubletBench, MeasuresColdStartsInAllForms) {
  const json cold = measure({"cold", "--iterations", "6", "--warmup", "1"});
  ASSERT_TRUE(cold.is_object());
  EXPECT_EQ(cold["benchmark"], "cold");
  ASSERT_EQ(cold["rows"].size(), 2u);
  EXPECT_EQ(cold["rows"][0]["start"], "bare");
  EXPECT_EQ(cold["rows"][1]["start"], "warm");
  for (const json& row : cold["rows"]) {
    EXPECT_GT(row["fork_exec_p50_us"].get<double>(), 0);
    expect_plausible(row);
  }

  const json isolation = measure({"isolation", "--iterations", "3", "--warmup", "1"});
  EXPECT_EQ(isolation["benchmark"], "isolation");
  ASSERT_EQ(isolation["rows"].size(), 2u) << "containers are measured when an image is given";
  EXPECT_EQ(isolation["rows"][0]["isolation"], "process");
  EXPECT_EQ(isolation["rows"][0]["ratio_p50"], 1.0) << "process is what it is compared with";
  EXPECT_EQ(isolation["rows"][1]["isolation"], "sandbox");
  for (const json& row : isolation["rows"]) {
    for (const char* const key : {"cold_p50_us", "ratio_p50", "warm_p50_us", "warm_ratio_p50"}) {
      EXPECT_GT(row[key].get<double>(), 0) << key << row;
    }
    EXPECT_EQ(row["starts"], 3);
  }

  const json latency =
      measure({"latency", "--mode", "cold", "--sizes", "8,1024", "--iterations", "3"});
  EXPECT_EQ(latency["mode"], "cold");
  ASSERT_EQ(latency["rows"].size(), 2u);
  for (const json& row : latency["rows"]) expect_plausible(row);
}

#ifdef SUBLET_OPENMP
TEST_F(SubletBench, MeasuresAWideWorker) {
  const json report = measure({"wide", "--options", "20000", "--iterations", "4"});
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["benchmark"], "wide");
  ASSERT_EQ(report["rows"].size(), 1u);
  const json& row = report["rows"][0];
  EXPECT_EQ(row["name"], "wide_2cores");
  EXPECT_EQ(row["calls"], 4);
  EXPECT_GT(row["p50_us"].get<double>(), 0) << row;
  EXPECT_GT(row["one_core_p50_us"].get<double>(), 0) << row;
  EXPECT_GT(row["ratio"].get<double>(), 0) << row;
}

TEST_F(SubletBench, SaysThatNoNodeHasAWorkerAsWide) {
  BenchRun bench = start({"wide", "--cores", "4096"});
  EXPECT_EQ(bench.wait(kLimit), 1);
  EXPECT_TRUE(mentions(bench.errors(), "no node has so many")) << bench.errors();
}
#endif

TEST_F(SubletBench, MeasuresTheRateForEachWindow) {
  const json report =
      measure({"rate", "--windows", "1,4,32", "--iterations", "500", "--warmup", "10"});
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["benchmark"], "rate");
  ASSERT_EQ(report["rows"].size(), 3u);
  const int windows[] = {1, 4, 32};
  for (std::size_t i = 0; i < 3; ++i) {
    const json& row = report["rows"][i];
    EXPECT_EQ(row["window"], windows[i]);
    EXPECT_GT(row["calls_per_s"].get<double>(), 0) << row;
    EXPECT_GT(row["sync_calls_per_s"].get<double>(), 0) << row;
  }
}

class SubletBenchBandwidth : public SubletBench, public testing::WithParamInterface<const char*> {};

TEST_P(SubletBenchBandwidth, WritesARowWithTheBareStreamBesideItForEachSize) {
  const json report = measure({"bandwidth", "--transport", GetParam(), "--sizes", "5,65536,1048576",
                               "--window", "4", "--iterations", "100", "--warmup", "4"});
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["benchmark"], "bandwidth");
  EXPECT_EQ(report["transport"], GetParam());
  EXPECT_EQ(report["window"], 4);
  ASSERT_EQ(report["rows"].size(), 3u);
  const std::uint64_t sizes[] = {5, 65536, 1048576};
  for (std::size_t i = 0; i < 3; ++i) {
    const json& row = report["rows"][i];
    EXPECT_EQ(row["size_bytes"], sizes[i]);
    EXPECT_GT(row["mib_per_s"].get<double>(), 0) << row;
    EXPECT_GT(row["raw_mib_per_s"].get<double>(), 0) << row;
    EXPECT_GT(row["ratio"].get<double>(), 0) << row;
    EXPECT_GE(row["pairs"].get<int>(), 5) << row;
    EXPECT_GE(row["bytes"].get<std::uint64_t>(), 100 * sizes[i]) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, SubletBenchBandwidth, testing::Values("shm", "tcp", "fabric"),
                         [](const auto& transport) { return std::string(transport.param); });

class SubletBenchConnect : public SubletBench, public testing::WithParamInterface<const char*> {};

TEST_P(SubletBenchConnect, OpensSoManyChannelsTogetherAndOneByOne) {
  const json report = measure({"connect", "--transport", GetParam(), "--counts", "1,5",
                               "--iterations", "3", "--warmup", "1"});
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["benchmark"], "connect");
  EXPECT_EQ(report["transport"], GetParam());
  ASSERT_EQ(report["rows"].size(), 2u);
  const int counts[] = {1, 5};
  for (std::size_t i = 0; i < 2; ++i) {
    const json& row = report["rows"][i];
    EXPECT_EQ(row["connections"], counts[i]);
    EXPECT_GT(row["together_p50_us"].get<double>(), 0) << row;
    EXPECT_GT(row["one_by_one_p50_us"].get<double>(), 0) << row;
    EXPECT_GT(row["ratio_p50"].get<double>(), 0) << row;
    EXPECT_EQ(row["rounds"], 3) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, SubletBenchConnect, testing::Values("shm", "tcp", "fabric"),
                         [](const auto& transport) { return std::string(transport.param); });

TEST_F(SubletBench, WritesOnlyJsonToStandardOutputWhenAsked) {
  BenchRun bench = start({"rate", "--windows", "2", "--iterations", "64", "--json", "-"});
  ASSERT_EQ(bench.wait(kLimit), 0) << bench.errors();
  EXPECT_EQ(json::parse(bench.output(), nullptr, false)["benchmark"], "rate") << bench.output();
}

TEST_F(SubletBench, EndsWithTwoAndSaysWhyWhenTheCommandLineIsWrong) {
  EXPECT_TRUE(mentions(refusal({"latency", "--mode", "tepid"}), "tepid"));
  EXPECT_TRUE(mentions(refusal({"latency", "--sizes", "0"}), "--sizes"));
  EXPECT_TRUE(mentions(refusal({"latency", "--sizes", "8,x"}), "'x'"));
  EXPECT_TRUE(mentions(refusal({"latency", "--cpus", "0,65000"}), "65000"));
  EXPECT_TRUE(mentions(refusal({"cold", "--json", folder_.string() + "/none/x"}), "none/x"));
  EXPECT_TRUE(mentions(refusal({"speed"}), "speed"));
}

TEST_F(SubletBench, EndsWithTwoWhenItMayUseOneCoreOnly) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (std::size_t cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  const std::string said = refusal({"latency"});
  ::sched_setaffinity(0, sizeof(before), &before);
  EXPECT_TRUE(mentions(said, "two cores")) << said;
}

TEST_F(SubletBench, SaysThatTheManagerIsNotThere) {
  BenchRun bench = start({"latency", "--manager", "unix:" + folder_.string() + "/nobody"});
  EXPECT_EQ(bench.wait(kLimit), 1);
  EXPECT_TRUE(mentions(bench.errors(), "nobody")) << bench.errors();
  EXPECT_TRUE(bench.all_gone(30s));
}

TEST_F(SubletBench, ShowsProgressOnATerminalAndLeavesNothingBehindWhenKilled) {
  BenchRun bench = start({"latency", "--iterations", "1000000000", "--json", json_path()}, true);
  ASSERT_TRUE(bench.says("latency hot 8 B: ", kLimit));
  bench.kill(SIGKILL);
  EXPECT_EQ(bench.wait(kLimit), 128 + SIGKILL);
  EXPECT_TRUE(bench.all_gone(30s));
}

}  // namespace
}  // namespace sublet::test
