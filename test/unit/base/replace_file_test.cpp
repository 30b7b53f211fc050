#include "support/temp_directory.hpp"
#include <base/replace_file.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace sublet::base {
namespace {

namespace fs = std::filesystem;

class ReplaceFile : public testing::Test {
 protected:
  static std::string content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<std::string> entries() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }
  [[nodiscard]] std::string path() const { return directory_ + "/file"; }

  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
};

TEST_F(ReplaceFile, MakesAFileOrReplacesItAndLeavesNothingElse) {
  for (const std::string text : {"one\n", "", "three"}) {
    const auto written = replace_file(path(), text, "writing");
    ASSERT_TRUE(written) << written.error().what();
    EXPECT_EQ(content(path()), text);
    EXPECT_EQ(entries(), std::vector<std::string>{"file"});
  }
}

TEST_F(ReplaceFile, GivesTheFileTheUsualMode) {
  const mode_t before = ::umask(027);
  const auto written = replace_file(path(), "text", "writing");
  ::umask(before);
  ASSERT_TRUE(written);
  struct stat info {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST_F(ReplaceFile, NamesEachDraftAnew) {
  const int watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  ASSERT_GE(watch, 0);
  ASSERT_GE(::inotify_add_watch(watch, directory_.c_str(), IN_CREATE), 0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(replace_file(path(), "text", "writing"));
  std::set<std::string> drafts;
  alignas(inotify_event) std::array<char, 4096> events{};
  const ssize_t size = ::read(watch, events.data(), events.size());
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events.data() + at);
    drafts.insert(event->name);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
  }
  ::close(watch);
  EXPECT_EQ(drafts.size(), 3u);
}

TEST_F(ReplaceFile, ReplacesALinkAndNotWhatItNames) {
  std::ofstream(directory_ + "/other") << "untouched";
  fs::create_symlink("other", path());
  ASSERT_TRUE(replace_file(path(), "new", "writing"));
  EXPECT_EQ(content(directory_ + "/other"), "untouched");
  EXPECT_FALSE(fs::is_symlink(path()));
}

TEST_F(ReplaceFile, LeavesTheOldFileAndNoDraftWhenItFails) {
  fs::create_directories(path() + "/occupied");  // cannot be replaced by a file
  const auto failed = replace_file(path(), "text", "writing address file");
  ASSERT_FALSE(failed);
  EXPECT_TRUE(std::string(failed.error().what()).starts_with("writing address file '" + path()))
      << failed.error().what();
  EXPECT_EQ(entries(), std::vector<std::string>{"file"});
  EXPECT_FALSE(replace_file(directory_ + "/none/file", "text", "writing"));
}

TEST_F(ReplaceFile, LeavesTheOldFileAndNoDraftWhenThereIsNoRoom) {
  ASSERT_TRUE(replace_file(path(), "old", "writing"));
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{8, 8};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::_exit(replace_file(path(), "longer than that", "writing") ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(content(path()), "old");
  EXPECT_EQ(entries(), std::vector<std::string>{"file"});
}

}  // namespace
}  // namespace sublet::base
