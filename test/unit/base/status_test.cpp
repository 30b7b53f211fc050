#include <sublet/result.hpp>
#include <sublet/status.hpp>

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sublet {
namespace {

constexpr int kStatuses = 14;
constexpr int kErrorKinds = 12;

TEST(Status, HasANameOfItsOwnForEachValue) {
  std::set<std::string> names;
  for (int i = 0; i < kStatuses; ++i) names.insert(to_string(static_cast<Status>(i)));
  EXPECT_EQ(names.size(), std::size_t{kStatuses});
  EXPECT_EQ(names.count("unknown status"), 0u);
}

TEST(Status, HasANameForWhatIsNoStatus) {
  for (int i = kStatuses; i < 256; ++i) {
    EXPECT_STREQ(to_string(static_cast<Status>(i)), "unknown status");
  }
}

TEST(ErrorKind, HasANameOfItsOwnForEachValue) {
  std::set<std::string> names;
  for (int i = 0; i < kErrorKinds; ++i) names.insert(to_string(static_cast<ErrorKind>(i)));
  EXPECT_EQ(names.size(), std::size_t{kErrorKinds});
  EXPECT_STREQ(to_string(static_cast<ErrorKind>(kErrorKinds)), "unknown error");
}

TEST(ErrorKind, OfAnUnknownNumberIsInternal) {
  EXPECT_EQ(static_cast<int>(kLastErrorKind) + 1, kErrorKinds);
  for (unsigned i = 0; i < kErrorKinds; ++i) {
    EXPECT_EQ(error_kind_from(i), static_cast<ErrorKind>(i));
  }
  for (const unsigned none : {unsigned{kErrorKinds}, 200u, ~0u}) {
    EXPECT_EQ(error_kind_from(none), ErrorKind::kInternal);
  }
}

TEST(Result, ThrowsTheErrorItselfWhenThereIsNoValue) {
  const auto make = [](bool good) -> Result<int> {
    if (good) return 7;
    return fail(ErrorKind::kOverloaded, "no room", 11);
  };
  EXPECT_EQ(make(true).value_or_throw(), 7);
  try {
    make(false).value_or_throw();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOverloaded);
    EXPECT_EQ(error.system_errno(), 11);
    EXPECT_STREQ(error.what(), "no room");
  }
}

TEST(Result, ThrowsForAnEmptyResultToo) {
  Result<void> good;
  EXPECT_NO_THROW(std::move(good).value_or_throw());
  Result<void> bad = fail(ErrorKind::kDenied, "no");
  EXPECT_THROW(std::move(bad).value_or_throw(), Error);
}

}  // namespace
}  // namespace sublet
