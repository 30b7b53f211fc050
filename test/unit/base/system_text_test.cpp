#include <base/system_text.hpp>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>

namespace sublet::base {
namespace {

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

TEST(SystemText, NamesTheLimitBehindAnError) {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  if (descriptors.rlim_cur != RLIM_INFINITY) {
    expect_contains(system_text(EMFILE), std::to_string(descriptors.rlim_cur) + " open");
    expect_contains(system_text(EMFILE), "ulimit -n");
  }
  EXPECT_EQ(system_text(ENOENT), "No such file or directory");
}

TEST(SystemText, NamesTheLimitOfThreads) {
  const std::string text = start_text(EAGAIN);
  EXPECT_TRUE(text.find("ulimit -u") != std::string::npos ||
              text.find("pids.max") != std::string::npos)
      << text;
  EXPECT_EQ(start_text(ENOENT), system_text(ENOENT));
}

TEST(SystemText, NamesTheCallThatIsRefused) {
  for (const int error : {ENOSYS, EPERM}) {
    const std::string text = call_text("pidfd_open", error);
    EXPECT_TRUE(text.starts_with("pidfd_open: ")) << text;
    expect_contains(text, "filter");
  }
}

}  // namespace
}  // namespace sublet::base
