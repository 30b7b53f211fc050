#include <client/trace.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace sublet::client {
namespace {

nlohmann::json parse(const TraceBuffer& buffer) {
  return nlohmann::json::parse("[" + to_chrome_events(buffer, "rank \"0\"", 7) + "]");
}

TraceBuffer two_workers() {
  TraceBuffer buffer(16);
  buffer.lease_id = 5;
  buffer.workers = {"worker 0 on c1 cpu 1", "worker 1 on c1 cpu 2"};
  buffer.functions = {"price"};
  return buffer;
}

TEST(Trace, IsJsonWithARowForTheCallerAndEachWorker) {
  TraceBuffer buffer = two_workers();
  buffer.add({1000, 2000, 3000, 4000, 1, 0, Status::kOk});
  std::map<std::string, std::string> rows;
  for (const auto& event : parse(buffer)) {
    EXPECT_EQ(event.at("pid"), 7);
    if (event.at("name") == "thread_name") {
      rows[event.at("args").at("name")] = std::to_string(event.at("tid").get<std::uint64_t>());
    }
  }
  EXPECT_EQ(rows.size(), 3U);
  EXPECT_TRUE(rows.contains("rank \"0\""));
  EXPECT_TRUE(rows.contains("worker 1 on c1 cpu 2"));
}

TEST(Trace, NestsQueueComputeAndReturnInEachInvocation) {
  TraceBuffer buffer = two_workers();
  const base::Ticks t = base::ticks();
  const auto us = [](double n) { return base::TickRate::get().from_ns(std::uint64_t(n * 1000)); };
  buffer.add({t, t + us(10), t + us(30), t + us(35), 0, 0, Status::kOk});
  std::map<std::string, double> length;
  for (const auto& event : parse(buffer)) {
    if (event.at("ph") == "X") length[event.at("name")] = event.at("dur");
  }
  EXPECT_NEAR(length.at("price"), 35, 0.1);
  EXPECT_NEAR(length.at("queue"), 10, 0.1);
  EXPECT_NEAR(length.at("compute"), 20, 0.1);
  EXPECT_NEAR(length.at("return"), 5, 0.1);
  EXPECT_NEAR(length.at("calls under way"), 35, 0.1);
}

/// The slice of that row which a viewer takes an arrow's end at `us` to belong to.
std::string slice_around(const nlohmann::json& events, const nlohmann::json& arrow) {
  std::string found;
  double shortest = 1e300;
  for (const auto& event : events) {
    if (event.at("ph") != "X" || event.at("tid") != arrow.at("tid")) continue;
    const double begin = event.at("ts");
    const double length = event.at("dur");
    const double us = arrow.at("ts");
    if (us < begin || us >= begin + length || length > shortest) continue;
    shortest = length;
    found = event.at("name");
  }
  return found;
}

TEST(Trace, DrawsAnArrowToTheWorkerAndOneBackForEachCall) {
  TraceBuffer buffer = two_workers();
  const base::Ticks t = base::ticks();
  const auto us = [](double n) { return base::TickRate::get().from_ns(std::uint64_t(n * 1000)); };
  buffer.add({t, t + us(10), t + us(30), t + us(35), 0, 0, Status::kOk});
  buffer.add({t + us(1), t + us(11), t + us(31), t + us(36), 1, 0, Status::kOk});
  const nlohmann::json events = parse(buffer);
  std::map<std::string, std::vector<nlohmann::json>> arrows;
  for (const auto& event : events) {
    if (event.at("ph") == "s" || event.at("ph") == "f") arrows[event.at("id")].push_back(event);
  }
  EXPECT_EQ(arrows.size(), 4U);
  int requests = 0;
  for (const auto& [id, ends] : arrows) {
    ASSERT_EQ(ends.size(), 2U) << id;
    EXPECT_EQ(ends[0].at("ph"), "s");
    EXPECT_EQ(ends[1].at("ph"), "f");
    EXPECT_LE(ends[0].at("ts").get<double>(), ends[1].at("ts").get<double>());
    const bool request = ends[0].at("name") == "request";
    requests += request ? 1 : 0;
    EXPECT_EQ(slice_around(events, ends[request ? 0 : 1]), "calls under way");
    EXPECT_EQ(slice_around(events, ends[request ? 1 : 0]), "compute");
  }
  EXPECT_EQ(requests, 2);
}

TEST(Trace, NeverOverlapsTheSlicesOfOneRow) {
  TraceBuffer buffer = two_workers();
  const base::Ticks t = base::ticks();
  // A full window: all submitted at once, run one after the other, collected at the end.
  for (base::Ticks i = 0; i < 8; ++i) {
    buffer.add({t, t + 10000 * (i + 1), t + 10000 * (i + 2), t + 200000, 0, 0, Status::kOk});
  }
  double free_from = 0;
  int invocations = 0;
  for (const auto& event : parse(buffer)) {
    if (event.at("ph") != "X" || event.at("name") != "price") continue;
    EXPECT_GE(event.at("ts").get<double>(), free_from - 0.002);
    free_from = event.at("ts").get<double>() + event.at("dur").get<double>();
    ++invocations;
  }
  EXPECT_EQ(invocations, 8);
}

TEST(Trace, SaysHowFarItsTimesMayBeOff) {
  const nlohmann::json events = parse(two_workers());
  const auto clock = std::find_if(events.begin(), events.end(),
                                  [](const auto& event) { return event.at("name") == "clock"; });
  ASSERT_NE(clock, events.end());
  EXPECT_EQ(clock->at("args").at("clock"), "CLOCK_MONOTONIC");
  EXPECT_GT(clock->at("args").at("error_us"), 0);
}

TEST(Trace, CountsWhatItCannotKeep) {
  TraceBuffer buffer(2);
  for (int i = 0; i < 5; ++i) buffer.add({});
  EXPECT_EQ(buffer.events().size(), 2U);
  EXPECT_EQ(buffer.dropped(), 3U);
}

}  // namespace
}  // namespace sublet::client
