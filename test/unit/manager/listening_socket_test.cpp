#include "support/temp_directory.hpp"
#include <base/fd.hpp>
#include <common/listening_socket.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sublet::manager {
namespace {

namespace fs = std::filesystem;

class ListeningSocketTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return directory_ + "/manager.sock"; }
  static Result<ListeningSocket> open(const std::string& text) {
    return ListeningSocket::open(*wire::Address::parse(text), "resource manager");
  }

  /// A process that listens at the path and is killed before it can clean up.
  void leave_dead_socket() const {
    const pid_t child = ::fork();
    if (child == 0) {
      auto socket = open("unix:" + path());
      ::raise(SIGKILL);
    }
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    ASSERT_TRUE(fs::exists(path()));
  }

  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
};

TEST_F(ListeningSocketTest, RemovesItsFileWhenItGoes) {
  {
    const auto socket = open("unix:" + path());
    ASSERT_TRUE(socket) << socket.error().what();
    EXPECT_TRUE(fs::is_socket(path()));
  }
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(ListeningSocketTest, ReplacesTheSocketOfADeadManager) {
  leave_dead_socket();
  const auto socket = open("unix:" + path());
  ASSERT_TRUE(socket) << socket.error().what();
}

TEST_F(ListeningSocketTest, OpensAlthoughSomebodyKeepsTheDirectoryLocked) {
  const base::Fd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(directory.get(), LOCK_SH), 0);
  const auto socket = open("unix:" + path());
  EXPECT_TRUE(socket) << socket.error().what();
}

TEST_F(ListeningSocketTest, SaysWhoListensAlready) {
  const auto first = open("unix:" + path());
  const auto second = open("unix:" + path());
  ASSERT_TRUE(first);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(std::string(second.error().what()), "a resource manager (pid " +
                                                    std::to_string(::getpid()) +
                                                    ") already listens at unix:" + path());
  EXPECT_TRUE(fs::exists(path()));
}

TEST_F(ListeningSocketTest, LeavesAFileThatIsNoSocketAlone) {
  std::ofstream(path()) << "precious";
  EXPECT_FALSE(open("unix:" + path()));
  EXPECT_EQ(fs::file_size(path()), 8u);
}

TEST_F(ListeningSocketTest, DoesNotRemoveTheFileOfItsSuccessor) {
  auto first = open("unix:" + path());
  ASSERT_TRUE(first);
  fs::remove(path());
  const auto second = open("unix:" + path());
  ASSERT_TRUE(second);
  *first = ListeningSocket();
  EXPECT_TRUE(fs::exists(path()));
}

TEST_F(ListeningSocketTest, MakesAPrivateDirectory) {
  const std::string inner = directory_ + "/run";
  const auto socket = open("unix:" + inner + "/manager.sock");
  ASSERT_TRUE(socket) << socket.error().what();
  struct stat info {};
  ASSERT_EQ(::stat(inner.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(ListeningSocketTest, RefusesADirectoryThatOthersMayEnter) {
  const std::string inner = directory_ + "/run";
  ASSERT_EQ(::mkdir(inner.c_str(), 0700), 0);
  EXPECT_TRUE(make_private_directory(inner));
  ASSERT_EQ(::chmod(inner.c_str(), 0711), 0);
  const auto made = make_private_directory(inner);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind(), ErrorKind::kDenied);
  fs::create_symlink(directory_, directory_ + "/link");
  EXPECT_FALSE(make_private_directory(directory_ + "/link"));
}

TEST_F(ListeningSocketTest, TakesAnyFreePortAndTellsWhich) {
  const auto socket = open("tcp:127.0.0.1:0");
  ASSERT_TRUE(socket) << socket.error().what();
  EXPECT_NE(socket->address().port, 0);
  EXPECT_EQ(socket->address().host, "127.0.0.1");
  EXPECT_FALSE(open(socket->address().to_string()));
}

TEST_F(ListeningSocketTest, AbstractNamesLeaveNoFile) {
  const std::string name = "unix:@sublet-test-" + std::to_string(::getpid());
  const auto socket = open(name);
  ASSERT_TRUE(socket) << socket.error().what();
  EXPECT_FALSE(open(name));
}

TEST_F(ListeningSocketTest, UnknownHostsAreNamed) {
  const auto socket = open("tcp:no-such-host.invalid:0");
  ASSERT_FALSE(socket);
  EXPECT_NE(std::string(socket.error().what()).find("no-such-host.invalid"), std::string::npos);
}

}  // namespace
}  // namespace sublet::manager
