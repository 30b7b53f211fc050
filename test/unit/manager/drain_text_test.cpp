// What `sublet drain` prints of nodes that have left or not.

#include <cli/drain_text.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace sublet::cli {
namespace {

using nlohmann::json;
using wire::DrainEnd;
using wire::DrainReport;

std::string text_of(const DrainReport& report) {
  return drain_text("c1", std::span(&report, 1));
}

TEST(DrainText, NamesWhatThereIsAndLeavesOutWhatThereIsNot) {
  EXPECT_EQ(text_of({"boot/c1", DrainEnd::LEFT, wire::DrainCounts{2, 1, 0, 0, 40, 1, 0}, 0}),
            "node c1 has left\n"
            "leases  2 ended in order, 1 cut off when the time was over\n"
            "calls   40 finished, 1 cut off when the time was over");
  EXPECT_EQ(text_of({"boot/c1", DrainEnd::LEFT, wire::DrainCounts{}, 0}),
            "node c1 has left\nleases  none\ncalls   none");
}

TEST(DrainText, ClaimsNothingThatIsNotKnown) {
  EXPECT_EQ(text_of({"boot/c1", DrainEnd::LEFT, {}, 0}),
            "node c1 has left; it did not say what became of its leases");
  EXPECT_EQ(text_of({"boot/c1", DrainEnd::LOST, {}, 3}),
            "node c1 was lost while it drained: what became of its calls is not known\n"
            "leases  3 lost");
  EXPECT_EQ(text_of({"boot/c1", DrainEnd::DRAINING, {}, 0}),
            "node c1 has not left although its time is over; `sublet nodes` shows it");
  EXPECT_EQ(text_of({"boot/c1", DrainEnd::RETURNED, {}, 0}).find("node c1 is up and does not"), 0u);
  EXPECT_EQ(text_of({"boot/c1", DrainEnd::CANCELLED, {}, 0}).find("node c1 stays"), 0u);
}

TEST(DrainText, AsJsonHasEveryNodeOfTheName) {
  const std::vector<DrainReport> reports = {
      {"a/c1", DrainEnd::LEFT, wire::DrainCounts{1, 2, 3, 4, 5, 6, 7}, 0},
      {"b/c1\xFF", DrainEnd::LOST, {}, 8}};
  const auto parsed = json::parse(drain_json("c1", "drained", reports));
  EXPECT_EQ(parsed["node"], "c1");
  EXPECT_EQ(parsed["result"], "drained");
  ASSERT_EQ(parsed["drained"].size(), 2u);
  EXPECT_EQ(parsed["drained"][0],
            (json{{"node_id", "a/c1"},
                  {"end", "left"},
                  {"leases", {{"in_order", 1}, {"cut_off", 2}, {"unclaimed", 3}, {"broken", 4}}},
                  {"calls", {{"finished", 5}, {"cut_off", 6}, {"unknown", 7}}}}));
  EXPECT_EQ(parsed["drained"][1]["end"], "lost");
  EXPECT_EQ(parsed["drained"][1]["leases_lost"], 8);
  EXPECT_FALSE(parsed["drained"][1].contains("calls"));
}

}  // namespace
}  // namespace sublet::cli
