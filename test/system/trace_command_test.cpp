// `sublet trace convert`, with a timeline of real calls, read by OTF2's own reader.

#include "command_fixture.hpp"
#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <array>
#include <filesystem>
#include <fstream>
#include <regex>

namespace sublet::test {
namespace {

constexpr int kSyncCalls = 7;
constexpr int kAsyncCalls = 13;
constexpr const char* kPrint = "/usr/bin/otf2-print";

class TraceConvert : public CommandTest {
 protected:
  void SetUp() override {
    for (const std::string& needed : {built_program("sublet-trace-otf2"), std::string(kPrint)}) {
      if (!std::filesystem::exists(needed)) GTEST_SKIP() << needed << " is not there";
    }
  }
  Ended convert(const std::string& timeline, const std::string& archive) {
    return run({"trace", "convert", "--to", "otf2", timeline, archive});
  }
  std::string write(const std::string& content) {
    const std::string path = directory_ + "/timeline.json";
    std::ofstream(path) << content;
    return path;
  }
};

std::ptrdiff_t count(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return std::distance(std::sregex_iterator(text.begin(), text.end(), regex),
                       std::sregex_iterator());
}

TEST_F(TraceConvert, ShowsExactlyTheCallsThatWereMade) {
  const std::string timeline = directory_ + "/calls.json";
  {
    const TestManagers managers;
    SessionOptions options = managers.session_options();
    options.trace = true;
    auto session = Session::open(options).value_or_throw();
    auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
    auto echo = lease.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
    auto multiply = lease.function(CLIENT_FUNCTIONS, "multiply").value_or_throw();
    std::array<char, 8> out{};
    for (int i = 0; i < kSyncCalls; ++i) {
      ASSERT_TRUE(echo.call("12345678", 8, out.data(), out.size()).ok());
    }
    const std::array<double, 2> pair{2, 3};
    std::array<double, kAsyncCalls> products{};
    std::vector<Call> calls;
    for (double& product : products) {
      calls.push_back(multiply.async(pair.data(), sizeof(pair), &product, sizeof(product)));
    }
    for (Call& call : calls) ASSERT_TRUE(call.wait().ok());
    session.write_trace(timeline).value_or_throw();
  }
  const std::string archive = directory_ + "/archive";
  const Ended converted = convert(timeline, archive);
  ASSERT_EQ(converted.code, 0) << converted.output;

  const Ended printed = run_program({kPrint, archive + "/traces.otf2"});
  ASSERT_EQ(printed.code, 0) << printed.output;
  for (const char* const event : {"ENTER", "LEAVE"}) {
    const std::string line = std::string("(^|\n)") + event + " +[0-9]+ +[0-9]+ +Region: ";
    EXPECT_EQ(count(printed.output, line + "\"echo\""), kSyncCalls) << printed.output;
    EXPECT_EQ(count(printed.output, line + "\"multiply\""), kAsyncCalls) << printed.output;
    EXPECT_EQ(count(printed.output, line + "\"compute\""), kSyncCalls + kAsyncCalls);
  }
  const Ended definitions = run_program({kPrint, "-G", archive + "/traces.otf2"});
  expect_contains(definitions.output, "\"worker 0 on ");
  expect_contains(definitions.output, "\"client\"");
}

TEST_F(TraceConvert, SaysWhereATimelineStopsBeingOne) {
  for (const auto& [content, text] :
       {std::pair("no json", "parse error"), std::pair("{}", "it has no rows"),
        std::pair(R"({"traceEvents":[{"pid":1}]})", "event 1 has no kind ('ph')"),
        std::pair(R"({"traceEvents":[{"ph":"X","name":"f","pid":1,"tid":1,"ts":-1,"dur":1}]})",
                  "event 1 has no time 'ts'"),
        std::pair(R"({"traceEvents":[{"ph":"X","name":"f","pid":-1,"tid":1,"ts":1,"dur":1}]})",
                  "event 1 has no whole number 'pid'"),
        std::pair(R"({"traceEvents":[{"ph":"X","name":7,"pid":1,"tid":1,"ts":1,"dur":1}]})",
                  "event 1 has no text 'name'")}) {
    const Ended ended = convert(write(content), directory_ + "/archive");
    EXPECT_EQ(ended.code, 2) << ended.output;
    expect_contains(ended.output, "is no timeline of Sublet");
    expect_contains(ended.output, text);
  }
  EXPECT_EQ(convert(directory_ + "/none.json", directory_ + "/archive").code, 2);
}

TEST_F(TraceConvert, NestsSlicesAndWritesOverNothing) {
  // Rounded so that the inner one ends after the outer one; and two of no length.
  const std::string timeline = write(R"({"traceEvents":[
{"ph":"X","name":"inner","pid":1,"tid":1,"ts":2.001,"dur":1.002},
{"ph":"X","name":"outer","pid":1,"tid":1,"ts":1.000,"dur":2.002},
{"ph":"X","name":"empty","pid":1,"tid":1,"ts":5,"dur":0},
{"ph":"X","name":"empty","pid":1,"tid":1,"ts":5,"dur":0}]})");
  const std::string archive = directory_ + "/archive";
  ASSERT_EQ(convert(timeline, archive).code, 0);
  const Ended printed = run_program({kPrint, archive + "/traces.otf2"});
  std::string order;
  const std::regex event("\n(ENTER|LEAVE) +[0-9]+ +[0-9]+ +Region: \"([a-z]+)\"");
  for (std::sregex_iterator at(printed.output.begin(), printed.output.end(), event), end; at != end;
       ++at) {
    order += (*at)[1].str().substr(0, 1) + ":" + (*at)[2].str() + " ";
  }
  EXPECT_EQ(order, "E:outer E:inner L:inner L:outer E:empty L:empty E:empty L:empty ")
      << printed.output;
  const Ended again = convert(timeline, archive);
  EXPECT_EQ(again.code, 2);
  expect_contains(again.output, "that is there already");
}

}  // namespace
}  // namespace sublet::test
