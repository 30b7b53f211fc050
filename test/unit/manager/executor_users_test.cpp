#include <executor_manager/executor_users.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>

namespace sublet::manager {
namespace {

TEST(ExecutorUsers, RefuseARangeThatIsNone) {
  for (const char* range : {"0-5", "7", "9-8", "a-b", "1-70000", "-", "5-", "-5", "1-2-3", "1 - 2",
                            "4294967294-4294967295", "99999999999-99999999999"}) {
    const auto users = ExecutorUsers::parse(range);
    ASSERT_FALSE(users) << range;
    EXPECT_EQ(users.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(users.error().what()).find("60000-60999"), std::string::npos);
  }
  const auto none = ExecutorUsers::parse("");
  ASSERT_TRUE(none);
  EXPECT_FALSE(none->any());
}

TEST(ExecutorUsers, AreLentToOneLeaseAtATime) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root runs executors as other users";
  auto users = ExecutorUsers::parse("61000-61002").value_or_throw();
  auto one = users.lend().value_or_throw();
  auto two = users.lend().value_or_throw();
  auto three = users.lend().value_or_throw();
  EXPECT_EQ(*one + *two + *three, 3 * 61001u);
  EXPECT_NE(*one, *two);
  const auto none = users.lend();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::kOverloaded);
  const std::uint32_t freed = *two;
  two.reset();
  EXPECT_EQ(*users.lend().value_or_throw(), freed);
}

TEST(ExecutorUsers, MayReturnAfterTheirManagerHasGone) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root runs executors as other users";
  std::optional<ExecutorUsers> users(ExecutorUsers::parse("61000-61002").value_or_throw());
  auto lent = users->lend().value_or_throw();
  users.reset();
  lent.reset();
}

}  // namespace
}  // namespace sublet::manager
