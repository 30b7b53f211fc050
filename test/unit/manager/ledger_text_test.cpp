#include <cli/ledger_text.hpp>
#include <common/ledger_views.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace sublet::cli {
namespace {

using nlohmann::json;
using wire::LedgerGrouping;

std::vector<wire::LedgerRow> two_rows() {
  wire::LedgerRow row;
  row.uid = 1000;
  row.user = "=alice, \"the\" first";
  row.job = 7;
  row.lease_id = 70;
  row.node = "n1";
  row.grants = 1;
  row.cores = 2;
  row.gpus = 4;
  row.begin_unix_ms = 1'800'000'000'000;
  row.end_unix_ms = 1'800'000'001'500;
  row.end = "reported";
  row.reason = "released";
  row.core_ms = 3'000;
  row.gpu_ms = 6'000;
  row.cost = 0.5;
  wire::LedgerRow other = row;
  other.uid = ~std::uint32_t{0};
  other.job = 0;
  other.open = 1;
  other.end_unix_ms = 0;
  other.core_ms = 123'456'789'012'345;
  return {row, other};
}

TEST(LedgerText, TheTableEndsWithTheSum) {
  const std::string table = ledger_table(LedgerGrouping::GRANTS, two_rows());
  EXPECT_NE(table.find("123456789012.345"), std::string::npos) << "all digits\n" << table;
  EXPECT_NE(table.find("reported: released"), std::string::npos) << table;
  EXPECT_NE(table.find("\ntotal"), std::string::npos) << table;
  EXPECT_NE(table.find("123456789015.345"), std::string::npos) << table;
  EXPECT_NE(table.find("12.000"), std::string::npos) << "GPU-seconds\n" << table;
  EXPECT_NE(ledger_table(LedgerGrouping::USERS, two_rows()).find("1 open"), std::string::npos);
  EXPECT_EQ(ledger_table(LedgerGrouping::NODES, {}).find("NODE  GRANTS  CORE-S  GPU-S"), 0u);
}

TEST(LedgerText, JsonHasAllDigitsAndNullForWhatIsNot) {
  const json value = json::parse(manager::ledger_json(LedgerGrouping::GRANTS, two_rows()));
  EXPECT_EQ(value.at("by"), "grants");
  const json& first = value.at("ledger").at(0);
  EXPECT_EQ(first.at("core_ms"), 3000);
  EXPECT_EQ(first.at("gpus"), 4);
  EXPECT_EQ(first.at("gpu_ms"), 6000);
  EXPECT_EQ(first.at("job"), 7);
  EXPECT_EQ(first.at("ended"), "reported");
  const json& second = value.at("ledger").at(1);
  EXPECT_TRUE(second.at("uid").is_null());
  EXPECT_TRUE(second.at("job").is_null());
  EXPECT_TRUE(second.at("end_unix_ms").is_null());
  EXPECT_TRUE(second.at("ended").is_null());
  EXPECT_EQ(value.at("total").at("core_ms"), 123'456'789'015'345);
  EXPECT_EQ(value.at("total").at("gpu_ms"), 12'000);
  EXPECT_FALSE(json::parse(manager::ledger_json(LedgerGrouping::NODES, two_rows()))
                   .at("ledger")
                   .at(0)
                   .contains("user"));
}

TEST(LedgerText, CsvIsQuotedAndNoFormula) {
  const std::string csv = ledger_csv(LedgerGrouping::GRANTS, two_rows());
  EXPECT_EQ(csv.find("lease,part,user,job,node,cores,gpus,memory_bytes,grants,open,unsure,"), 0u)
      << csv;
  EXPECT_NE(csv.find(",bytes_out,gpu_ms,cost,ended,reason\r\n"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",6000,0.500000,reported"), std::string::npos) << csv;
  EXPECT_NE(csv.find("\"'=alice, \"\"the\"\" first\""), std::string::npos) << csv;
  EXPECT_NE(csv.find(",reported,released\r\n"), std::string::npos) << csv;
}

TEST(LedgerText, ReadsTimes) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  EXPECT_EQ(parse_time("2026-12-01").value_or_throw(), 1'796'083'200'000);
  EXPECT_EQ(parse_time("2026-12-01T01:02").value_or_throw(), 1'796'086'920'000);
  EXPECT_EQ(parse_time("2026-12-01T01:02:03").value_or_throw(), 1'796'086'923'000);
  EXPECT_EQ(parse_time("@1796083200").value_or_throw(), 1'796'083'200'000);
  for (const char* const wrong :
       {"", "yesterday", "2026-13-01", "2026-12-01T", "@", "@-5", "@1x"}) {
    EXPECT_FALSE(parse_time(wrong)) << wrong;
  }
  ::unsetenv("TZ");
  ::tzset();
}

}  // namespace
}  // namespace sublet::cli
