#include "rules.hpp"

#include <gtest/gtest.h>

namespace sublet::tidy {
namespace {

using Files = std::vector<SourceFile>;

TEST(LanguageRule, FindsWhatOneCompilerLacks) {
  EXPECT_EQ(to_text(check_language({make_file("a.cpp", "x\nauto v = r | std::views::take(2);\n")})),
            "a.cpp:2: std::views is not in g++ 12 and clang 14 both\n");
  EXPECT_EQ(check_language({make_file("a.hpp", "#include <format>\n")}).size(), 1U);
  EXPECT_EQ(check_language({make_file("a.hpp", "#include <source_location>\n")}).size(), 1U);
}

TEST(LanguageRule, LeavesCommentsAndLongerNamesAlone) {
  EXPECT_TRUE(check_language({make_file("a.cpp", "// no std::views here\n")}).empty());
  EXPECT_TRUE(check_language({make_file("a.cpp", "std::format_to_n(a);\n")}).empty());
}

TEST(SleepRule, FindsEachKindOfSleep) {
  for (const auto* line : {"std::this_thread::sleep_for(1ms);", "::usleep(5);", "sleep(1);",
                           "nanosleep(&t, nullptr);", "if (x) { ::poll(nullptr, 0, 5); }",
                           "channel.sleep(1ms); std::this_thread::sleep_until(then);"}) {
    EXPECT_EQ(check_no_sleeps({make_file("test/unit/a_test.cpp", line)}).size(), 1U) << line;
  }
  for (const auto* line :
       {"  sleep 1", "until [ -e x ]; do sleep 0.1; done", "x && sleep \"$pause\"", "(sleep 1) &",
        "srun bash -c 'exec /bin/sleep 60'", "usleep 100", "timeout 5 sleep inf"}) {
    EXPECT_EQ(check_no_sleeps({make_file("test/system/a.sh", line)}).size(), 1U) << line;
    EXPECT_EQ(check_no_sleeps({make_file("examples/demo.sh", line)}).size(), 1U) << line;
  }
  EXPECT_EQ(check_no_sleeps({make_file("test/a/CMakeLists.txt", "COMMAND sleep 5")}).size(), 1U);
}

TEST(SleepRule, LeavesOtherNamesAndOtherFoldersAlone) {
  EXPECT_TRUE(check_no_sleeps({make_file("runtime/a.cpp", "sleep(1);")}).empty());
  EXPECT_TRUE(check_no_sleeps({make_file("test/a_test.cpp", "channel.sleep(1ms);")}).empty());
  EXPECT_TRUE(check_no_sleeps({make_file("test/a_test.cpp", "server->sleep(1ms);")}).empty());
  EXPECT_TRUE(
      check_no_sleeps({make_file("test/a.cpp", "sleep(9);  // tidy-allow: overruns")}).empty());
  for (const auto* line : {"tail --sleep-interval=0.02 -f /dev/null", "x # does not sleep 1 s",
                           "# sleep 5", "sleeper 5", "name=sleep", "fall_asleep 3"}) {
    EXPECT_TRUE(check_no_sleeps({make_file("test/a.sh", line)}).empty()) << line;
  }
}

TEST(ElapsedTimeRule, FindsUpperBounds) {
  const auto check = [](const char* lines) {
    return check_no_elapsed_time({make_file("test/unit/a_test.cpp", lines)}).size();
  };
  EXPECT_EQ(check("EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);"), 1U);
  EXPECT_EQ(check("  ASSERT_LE(Clock::now() - begin,\n            limit)\n      << text;\n"), 1U);
  EXPECT_EQ(check("EXPECT_GT(1s, Clock::now() - begin);"), 1U);
  EXPECT_EQ(check("EXPECT_TRUE(Clock::now() - begin < 1s);"), 1U);
  EXPECT_EQ(check("const auto took = Clock::now() - begin;\nEXPECT_LT(took.count(), 5);\n"), 1U);
  EXPECT_EQ(check("const auto end =\n    Clock::now();\nEXPECT_LT(end - begin, 5ms);\n"), 1U);
  EXPECT_EQ(check("const auto end = base::ticks();\nEXPECT_NEAR(end - begin, 5, 1);\n"), 1U);
}

TEST(ElapsedTimeRule, LeavesOtherAssertionsAlone) {
  const auto check = [](const char* lines) {
    return to_text(check_no_elapsed_time({make_file("test/unit/a_test.cpp", lines)}));
  };
  EXPECT_EQ(check("EXPECT_GE(Clock::now() - begin, 50ms);"), "") << "no machine is too fast";
  EXPECT_EQ(check("const auto end = Clock::now() + 20s;\nwhile (Clock::now() < end) look();"), "");
  EXPECT_EQ(check("EXPECT_TRUE(connect(address, Clock::now() + 5s));"), "");
  EXPECT_EQ(check("const auto end = Clock::now();\n}\nEXPECT_LT(end - begin, 9);"), "")
      << "another function's";
  EXPECT_EQ(check("const auto before = base::ticks();\nEXPECT_LE(before, reply.started);"), "");
  EXPECT_EQ(check("EXPECT_LT(a - b, 3);"), "");
  EXPECT_EQ(check("EXPECT_LT(Clock::now() - begin, 1s);  // tidy-allow: the rule's own test"), "");
}

TEST(TestNameRule, WantsSubjectAndSentence) {
  const auto check = [](const char* line) {
    return check_test_names({make_file("test/unit/a_test.cpp", line)}).size();
  };
  EXPECT_EQ(check("TEST(Fd, ClosesOnDestruction) {"), 0U);
  EXPECT_EQ(check("TEST_F(VeryLongSubject,"), 0U);
  EXPECT_EQ(check("TEST(fd_test, Closes) {"), 1U);
  EXPECT_EQ(check("TEST(Fd, test_close) {"), 1U);
}

TEST(TestNameRule, WantsTestsInTestFiles) {
  EXPECT_EQ(check_test_names({make_file("test/unit/a.cpp", "TEST(A, Does) {}")}).size(), 1U);
}

TEST(TestDeclarationRule, WantsLimitsOnEachTest) {
  EXPECT_EQ(
      check_test_declarations({make_file("test/x/CMakeLists.txt", "add_test(NAME a)\n")}).size(),
      1U);
  EXPECT_EQ(check_test_declarations(
                {make_file("test/x/CMakeLists.txt", "add_test(NAME a)\n TIMEOUT 5 LABELS b\n")})
                .size(),
            0U);
  EXPECT_EQ(
      check_test_declarations({make_file("test/x/CMakeLists.txt", "gtest_discover_tests(a)\n")})
          .size(),
      1U);
}

TEST(PublicHeaderRule, FindsPrivateIncludes) {
  const auto check = [](const char* line) {
    return check_public_headers({make_file("runtime/include/sublet/a.hpp", line)}).size();
  };
  EXPECT_EQ(check("#include <vector>"), 0U);
  EXPECT_EQ(check("#include <stdint.h>"), 0U);
  EXPECT_EQ(check("#include <sublet/b.hpp>"), 0U);
  EXPECT_EQ(check("#include <base/fd.hpp>"), 1U);
  EXPECT_EQ(check("#include <spdlog/spdlog.h>"), 1U);
  EXPECT_EQ(check("#include <tl/expected.hpp>"), 1U);
  EXPECT_EQ(check("#include <mpi.h>"), 1U);
}

TEST(HandlerRule, FindsHandlersThatHaveNames) {
  const auto count = [](const std::string& line) {
    return check_handlers({make_file("manager/a.cpp", line)}).size();
  };
  EXPECT_EQ(count("  return promise.catch_(failed);"), 1U);
  EXPECT_EQ(count("  told_ = told.eagerlyEvaluate(failed);"), 1U);
  EXPECT_EQ(count("  told_ = told.eagerlyEvaluate(failed());"), 0U);
  EXPECT_EQ(count("  told_ = told.eagerlyEvaluate(nullptr);"), 0U);
  EXPECT_EQ(count("  told_ = told.eagerlyEvaluate([this](kj::Exception&& e) { end(); });"), 0U);
}

TEST(MarkRule, FindsUnfinishedWork) {
  EXPECT_EQ(check_no_marks({make_file("a.cpp", "// TODO: more")}).size(), 1U);
  EXPECT_TRUE(check_no_marks({make_file("a.cpp", "char t[] = \"/tmp/XXXXXX\"; // TODOS")}).empty());
}

TEST(ReadmeRule, WantsOnePageInEachFolder) {
  const auto source = make_file("executor/a.cpp", "");
  EXPECT_EQ(check_readmes({source}).size(), 1U);
  EXPECT_TRUE(check_readmes({source, make_file("executor/README.md", "# Executor\n")}).empty());
  const auto endless = make_file("executor/README.md", std::string(81, '\n'));
  EXPECT_EQ(check_readmes({source, endless}).size(), 1U);
}

TEST(PackageRule, WantsTheSameListTwice) {
  const auto dev = make_file("dev", "build g++   the compiler\nlint  clang-tidy  finds bugs\n");
  const auto full = make_file("docs/dependencies.md", "| `g++` | a |\n| `clang-tidy` | b |\n");
  EXPECT_TRUE(check_packages({dev, full}).empty());
  EXPECT_EQ(to_text(check_packages({dev, make_file("docs/dependencies.md", "| `g++` | a |\n")})),
            "docs/dependencies.md: does not explain clang-tidy\n");
  EXPECT_EQ(to_text(check_packages({make_file("dev", "build g++  the compiler\n"), full})),
            "dev: does not install clang-tidy\n");
  EXPECT_FALSE(check_packages({full}).empty());
}

TEST(LengthRule, CountsLines) {
  EXPECT_EQ(to_text(check_lengths({make_file("a.cpp", std::string(601, '\n'))})),
            "a.cpp: has 601 lines, more than 600: is it one noun?\n");
  EXPECT_TRUE(check_lengths({make_file("a.cpp", std::string(600, '\n'))}).empty());
  EXPECT_EQ(check_lengths({make_file("a.hpp", std::string(301, '\n'))}).size(), 1U);
  EXPECT_TRUE(check_lengths({make_file("a.md", std::string(900, '\n'))}).empty());
}

}  // namespace
}  // namespace sublet::tidy
