// Libraries that are not like others: the functions run right, or the error says what to do.

#include "zygote_under_test.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace sublet::executor {
namespace {

using transport::Arena;

class Libraries : public testing::Test {
 protected:
  Libraries() {
    arena_ = Arena::create(1u << 20).value_or_throw();
    channel_.emplace(executor_.connect(0, arena_).value_or_throw());
  }

  std::string error_of(const wire::Opened& opened) {
    return opened.ok != 0 ? "opened" : opened.text.data();
  }
  /// Each library has a content of its own: its hash need only differ.
  std::string open(std::uint16_t index, const char* library, const char* function) {
    return error_of(executor_.open_memory(index, library_memory(library),
                                          static_cast<std::uint8_t>(index + 1), function));
  }
  std::uint64_t call_with(std::uint16_t index, std::uint64_t in) {
    std::uint64_t out = 0;
    const CallResult result = call(*channel_, index, &in, sizeof(in), &out, sizeof(out));
    EXPECT_EQ(result.status, Status::kOk) << result.error;
    return out;
  }

  ZygoteUnderTest zygote_;
  ExecutorUnderTest executor_ = zygote_.spawn();
  std::shared_ptr<Arena> arena_;
  std::optional<transport::shm::ClientChannel> channel_;
};

TEST_F(Libraries, CallsTypedFunctionsAsSuchWhoseDescriptionsAreHidden) {
  std::uint16_t index = 0;
  for (const char* library : {HIDDEN, HIDDEN_STRIPPED, HIDDEN_COLLECTED, HIDDEN_BY_HAND}) {
    ASSERT_EQ(open(index, library, "add_one"), "opened") << library;
    EXPECT_EQ(call_with(index++, 41), 42u) << library;
  }
  ASSERT_EQ(open(index, HIDDEN, "sum_of"), "opened");
  EXPECT_EQ(call_with(index, 7), 7u);
}

TEST_F(Libraries, GiveEachBuildItsOwnData) {
  ASSERT_EQ(open(0, FIRST_BUILD, "which_build"), "opened");
  EXPECT_EQ(call_with(0, 0), 1001u);
  ASSERT_EQ(open(1, SECOND_BUILD, "which_build"), "opened");
  EXPECT_EQ(call_with(1, 0), 2001u);
  EXPECT_EQ(call_with(0, 0), 1002u);
  EXPECT_EQ(call_with(1, 0), 2002u);
}

TEST_F(Libraries, SayThatWhatLiesBesideThemDoesNotTravel) {
  const std::string error = open(0, NEEDS_NEIGHBOUR, "use_neighbour");
  EXPECT_NE(error.find("libneighbour.so: cannot open shared object file"), std::string::npos)
      << error;
  EXPECT_NE(error.find("only the library's own content travels"), std::string::npos) << error;
  EXPECT_NE(error.find("LD_LIBRARY_PATH"), std::string::npos) << error;
}

TEST_F(Libraries, SayWhatToDoAboutStaticTls) {
  const std::string error = open(0, STATIC_TLS, "touch");
  EXPECT_NE(error.find("static TLS"), std::string::npos) << error;
  EXPECT_NE(error.find("GLIBC_TUNABLES"), std::string::npos) << error;
}

TEST_F(Libraries, AreRefusedWithASanitizerBeforeItEndsTheProcess) {
  const std::string error = open(0, SANITIZED, "add_one");
  if (kSanitizer) GTEST_SKIP() << "this executor has a sanitizer itself";
  EXPECT_NE(error.find("built with -fsanitize=address"), std::string::npos) << error;
  EXPECT_EQ(executor_.open(1, TEST_FUNCTIONS, "echo").ok, 1);  // it lives
}

}  // namespace
}  // namespace sublet::executor
