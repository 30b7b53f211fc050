#include <base/fd.hpp>
#include <common/alarms.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <vector>

namespace sublet::manager {
namespace {

TEST(Alarms, RiseAndFallWithDescriptors) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 100;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  EXPECT_FALSE(descriptors_alarm().raised) << descriptors_alarm().text;
  {
    std::vector<base::Fd> open;
    while (open.size() < 100) {
      base::Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!fd.valid() || fd.get() > 94) break;
      open.push_back(std::move(fd));
    }
    const Alarm alarm = descriptors_alarm();
    EXPECT_TRUE(alarm.raised) << alarm.text;
    EXPECT_GE(alarm.value, alarm.limit);
    EXPECT_NE(alarm.text.find(" of 100 "), std::string::npos) << alarm.text;
  }
  EXPECT_FALSE(descriptors_alarm().raised);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(Alarms, AreToldWhenTheyRiseAndWhenTheyAreOver) {
  std::uint64_t bytes = 5;
  Alarms alarms;
  alarms.add([&] { return size_alarm("cache", bytes, 10, "make room"); });
  alarms.look();
  ASSERT_EQ(alarms.all().size(), 1U);
  EXPECT_FALSE(alarms.all().front().raised);
  bytes = 10;
  ::testing::internal::CaptureStderr();
  alarms.look();
  alarms.look();
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(alarms.all().front().raised);
  EXPECT_NE(said.find("alarm, cache: "), std::string::npos) << said;
  EXPECT_EQ(said.find("alarm, cache: "), said.rfind("alarm, cache: ")) << "told twice: " << said;
  bytes = 0;
  alarms.look();
  EXPECT_FALSE(alarms.all().front().raised);
}

TEST(Alarms, SayWhenADirectoryHasGone) {
  const Alarm gone = disk_alarm("/no/such/directory/ledger.db");
  EXPECT_TRUE(gone.raised);
  EXPECT_NE(gone.text.find("/no/such/directory"), std::string::npos) << gone.text;
}

}  // namespace
}  // namespace sublet::manager
