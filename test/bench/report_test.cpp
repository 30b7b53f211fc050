#include <bench/report.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sublet::bench {
namespace {

using nlohmann::json;

bool report_mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

LatencyReport sample_report() {
  LatencyReport report;
  report.mode = Mode::kWarm;
  report.cpus = {4, 5};
  report.manager = "unix:/run/manager";
  LatencyRow row;
  row.size_bytes = 1024;
  row.ours_us = {1.5, 2.5, 3.5};
  row.raw_us = {1.25, 2, 3};
  row.pairs.ratio = 1.2;
  row.pairs.line_ns = 55;
  row.pairs.pairs = 9;
  row.pairs.dropped = 2;
  report.rows.push_back(row);
  return report;
}

TEST(LatencyReport, HasTheKeysThatProgramsReadAsJson) {
  const json parsed = json::parse(to_json(sample_report()));
  EXPECT_EQ(parsed["benchmark"], "latency");
  EXPECT_EQ(parsed["transport"], "shm");
  EXPECT_EQ(parsed["mode"], "warm");
  ASSERT_EQ(parsed["rows"].size(), 1u);
  const json& row = parsed["rows"][0];
  EXPECT_EQ(row["size_bytes"], 1024);
  EXPECT_EQ(row["p50_us"], 1.5);
  EXPECT_EQ(row["p95_us"], 2.5);
  EXPECT_EQ(row["p99_us"], 3.5);
  EXPECT_EQ(row["raw_p50_us"], 1.25);
  EXPECT_EQ(row["ratio_p50"], 1.2);
  EXPECT_EQ(row["bounced_line_ns"], 55);
  EXPECT_EQ(row["pairs"], 9);
  EXPECT_EQ(row["pairs_dropped"], 2);
  EXPECT_FALSE(row.contains("openmpi_p50_us"));
}

TEST(LatencyReport, HasOpenMpisFiguresWhenCompared) {
  LatencyReport report = sample_report();
  report.rows[0].openmpi_p50_us = 0.5;
  report.rows[0].openmpi_eager32k_p50_us = 0.25;
  const json row = json::parse(to_json(report))["rows"][0];
  EXPECT_EQ(row["openmpi_p50_us"], 0.5);
  EXPECT_EQ(row["openmpi_eager32k_p50_us"], 0.25);
  EXPECT_TRUE(report_mentions(to_table(report), "OpenMPI (us)"));
  EXPECT_FALSE(report_mentions(to_table(sample_report()), "OpenMPI (us)"));
}

TEST(LatencyReport, SaysInTheTableWhenNoPairWasSteady) {
  LatencyReport report = sample_report();
  EXPECT_FALSE(report_mentions(to_table(report), "too busy"));
  report.rows[0].pairs.unsteady = true;
  EXPECT_TRUE(report_mentions(to_table(report), "too busy"));
  EXPECT_EQ(json::parse(to_json(report))["rows"][0]["steady"], false);
}

TEST(ColdReport, IsAlsoALatencyReport) {
  ColdReport cold;
  ColdRow row;
  row.size_bytes = 8;
  row.ours_us = {900, 950, 990};
  row.fork_exec_us = {500, 510, 520};
  row.pairs.ratio = 1.8;
  cold.rows.push_back(row);

  const json own = json::parse(to_json(cold));
  EXPECT_EQ(own["benchmark"], "cold");
  EXPECT_EQ(own["rows"][0]["start"], "bare");
  EXPECT_EQ(own["rows"][0]["p50_us"], 900);
  EXPECT_EQ(own["rows"][0]["fork_exec_p50_us"], 500);
  EXPECT_EQ(own["rows"][0]["ratio_p50"], 1.8);

  const json latency = json::parse(to_json(as_latency(cold)));
  EXPECT_EQ(latency["mode"], "cold");
  EXPECT_EQ(latency["rows"][0]["size_bytes"], 8);
  EXPECT_EQ(latency["rows"][0]["raw_p50_us"], 500);
}

TEST(IsolationReport, HasPodmanOnlyBesideContainers) {
  IsolationReport report;
  report.image = "debian:12";
  IsolationRow process;
  process.isolation = "process";
  process.bare_us.p50 = 900;
  process.bare.ratio = 1;
  report.rows.push_back(process);
  IsolationRow container = process;
  container.isolation = "container";
  container.podman_us.p50 = 400000;
  container.podman.ratio = 1.2;
  container.podman.pairs = 3;
  report.rows.push_back(container);

  const json parsed = json::parse(to_json(report));
  EXPECT_EQ(parsed["image"], "debian:12");
  EXPECT_EQ(parsed["rows"][0]["isolation"], "process");
  EXPECT_EQ(parsed["rows"][0]["cold_p50_us"], 900);
  EXPECT_FALSE(parsed["rows"][0].contains("podman_ratio_p50"));
  EXPECT_EQ(parsed["rows"][1]["podman_ratio_p50"], 1.2);
  EXPECT_TRUE(report_mentions(to_table(report), "debian:12"));
}

TEST(RateReport, HasTheKeysThatProgramsReadAsJson) {
  RateReport rate;
  rate.rows.push_back({.window = 16,
                       .calls_per_s = 2e7,
                       .sync_calls_per_s = 1e7,
                       .ratio = 2,
                       .pairs = 5,
                       .calls = 100});
  const json parsed = json::parse(to_json(rate));
  EXPECT_EQ(parsed["benchmark"], "rate");
  EXPECT_EQ(parsed["rows"][0]["window"], 16);
  EXPECT_EQ(parsed["rows"][0]["calls_per_s"], 2e7);
  EXPECT_EQ(parsed["rows"][0]["sync_calls_per_s"], 1e7);
}

TEST(BandwidthReport, HasTheKeysThatProgramsReadAsJson) {
  BandwidthReport bandwidth;
  bandwidth.transport = *transport::kind_named("fabric");
  bandwidth.window = 16;
  bandwidth.rows.push_back({.size_bytes = 1 << 20,
                            .mib_per_s = 1900,
                            .raw_mib_per_s = 2000,
                            .ratio = 0.95,
                            .pairs = 7,
                            .bytes = std::uint64_t{7} << 26});
  const json parsed = json::parse(to_json(bandwidth));
  EXPECT_EQ(parsed["benchmark"], "bandwidth");
  EXPECT_EQ(parsed["transport"], "fabric");
  EXPECT_EQ(parsed["window"], 16);
  ASSERT_EQ(parsed["rows"].size(), 1u);
  EXPECT_EQ(parsed["rows"][0]["size_bytes"], 1 << 20);
  EXPECT_EQ(parsed["rows"][0]["mib_per_s"], 1900);
  EXPECT_EQ(parsed["rows"][0]["raw_mib_per_s"], 2000);
  EXPECT_EQ(parsed["rows"][0]["ratio"], 0.95);
  EXPECT_EQ(parsed["rows"][0]["pairs"], 7);
  EXPECT_EQ(parsed["rows"][0]["bytes"], std::uint64_t{7} << 26);
  EXPECT_TRUE(report_mentions(to_table(bandwidth), "fi_write"));
  EXPECT_TRUE(report_mentions(to_table(bandwidth), "0.950"));
}

TEST(WideReport, HasTheKeysThatProgramsReadAsJson) {
  WideReport wide;
  wide.cores = 2;
  wide.cpuset = "0-1";
  wide.options = 1000;
  wide.calls = 30;
  wide.wide_us.p50 = 50;
  wide.one_core_us.p50 = 95;
  wide.pairs.ratio = 1.9;
  wide.pairs.pairs = 10;
  const json parsed = json::parse(to_json(wide));
  EXPECT_EQ(parsed["benchmark"], "wide");
  EXPECT_EQ(parsed["cpuset"], "0-1");
  ASSERT_EQ(parsed["rows"].size(), 1u);
  EXPECT_EQ(parsed["rows"][0]["name"], "wide_2cores");
  EXPECT_EQ(parsed["rows"][0]["p50_us"], 50);
  EXPECT_EQ(parsed["rows"][0]["one_core_p50_us"], 95);
  EXPECT_EQ(parsed["rows"][0]["ratio"], 1.9);
  EXPECT_TRUE(report_mentions(to_table(wide), "1.900"));
}

TEST(ConnectReport, HasTheKeysThatProgramsReadAsJson) {
  ConnectReport connect;
  connect.transport = *transport::kind_named("verbs");
  connect.rows.push_back(
      {.connections = 64, .together_us = 6400, .one_by_one_us = 12800, .ratio = 0.5, .rounds = 20});
  const json parsed = json::parse(to_json(connect));
  EXPECT_EQ(parsed["benchmark"], "connect");
  EXPECT_EQ(parsed["transport"], "verbs");
  ASSERT_EQ(parsed["rows"].size(), 1u);
  EXPECT_EQ(parsed["rows"][0]["connections"], 64);
  EXPECT_EQ(parsed["rows"][0]["together_p50_us"], 6400);
  EXPECT_EQ(parsed["rows"][0]["one_by_one_p50_us"], 12800);
  EXPECT_EQ(parsed["rows"][0]["ratio_p50"], 0.5);
  EXPECT_EQ(parsed["rows"][0]["together_each_us"], 100);
  EXPECT_EQ(parsed["rows"][0]["rounds"], 20);
  EXPECT_TRUE(report_mentions(to_table(connect), "0.500"));
}

}  // namespace
}  // namespace sublet::bench
