#include "support/temp_directory.hpp"
#include <base/fd.hpp>
#include <wire/manager_address.hpp>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace sublet::wire {
namespace {

class ManagerAddress : public testing::Test {
 protected:
  ManagerAddress() {
    ::unsetenv("SUBLET_MANAGER");
    ::unsetenv("SUBLET_MANAGER_DIR");
  }
  void write(const std::string& text) {
    std::ofstream(directory_ + "/" + kManagerAddressFile) << text;
  }
  std::string why_not() {
    const auto found = find_manager({}, directory_);
    return found ? "found " + found->address : found.error().what();
  }

  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
};

TEST_F(ManagerAddress, IsReadAsItWasWritten) {
  const ManagerAddressFile file{"", "c1, process 7, since now", "abcd", {"unix:/x", "tcp:c1:99"}};
  write(file.to_text());
  const auto found = find_manager({}, directory_);
  ASSERT_TRUE(found) << found.error().what();
  EXPECT_EQ(found->address, "tcp:c1:99");  // which other nodes reach too
  EXPECT_EQ(found->instance, "abcd");
  EXPECT_NE(found->to_string().find("c1, process 7, since now"), std::string::npos);
  EXPECT_NE(found->advice().find("stale"), std::string::npos);
}

TEST_F(ManagerAddress, IsTheOneThatLeadsThere) {
  const base::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&own), sizeof(own)), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  socklen_t size = sizeof(own);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&own), &size);
  const std::string port = std::to_string(ntohs(own.sin_port));
  // A name of nobody, an address of another host's, one that takes no connection.
  write(ManagerAddressFile{"",
                           "c1",
                           "abcd",
                           {"tcp:no-such-host.invalid:" + port, "tcp:192.0.2.1:" + port,
                            "tcp:127.0.0.2:" + port, "tcp:127.0.0.1:" + port}}
            .to_text());
  const auto found = find_manager({}, directory_);
  ASSERT_TRUE(found) << found.error().what();
  EXPECT_EQ(found->address, "tcp:127.0.0.1:" + port);
}

TEST_F(ManagerAddress, ANamedOneWinsOverTheDirectory) {
  write(ManagerAddressFile{"", "c1", "abcd", {"tcp:c1:99"}}.to_text());
  EXPECT_EQ(find_manager("unix:/here", directory_)->address, "unix:/here");
  ::setenv("SUBLET_MANAGER", "unix:/there", 1);
  EXPECT_EQ(find_manager({}, directory_)->address, "unix:/there");
  ::unsetenv("SUBLET_MANAGER");
  ::setenv("SUBLET_MANAGER_DIR", directory_.c_str(), 1);
  EXPECT_EQ(find_manager({}, {})->address, "tcp:c1:99");
  ::unsetenv("SUBLET_MANAGER_DIR");
  EXPECT_EQ(find_manager({}, {})->address, "");
}

TEST_F(ManagerAddress, OfThisUserIsNotTakenFromADirectoryThatOthersMayEnter) {
  ::setenv("XDG_RUNTIME_DIR", directory_.c_str(), 1);
  const std::string own = directory_ + "/sublet";
  EXPECT_EQ(local_manager_address().value_or(""), "unix:" + own + "/manager.sock") << "none yet";
  std::filesystem::create_directory(own);
  std::filesystem::permissions(own, std::filesystem::perms::owner_all);
  EXPECT_TRUE(local_manager_address());
  std::filesystem::permissions(own, std::filesystem::perms::all);
  const auto refused = local_manager_address();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kDenied);
  std::filesystem::remove(own);
  std::filesystem::create_directory_symlink(directory_, own);
  EXPECT_FALSE(local_manager_address());
  ::unsetenv("XDG_RUNTIME_DIR");
}

TEST_F(ManagerAddress, IsNotWaitedForWhereTheFileIsAFifo) {
  ASSERT_EQ(::mkfifo((directory_ + "/" + kManagerAddressFile).c_str(), 0600), 0);
  EXPECT_NE(why_not().find("reading the address file"), std::string::npos) << why_not();
}

TEST_F(ManagerAddress, SaysWhatIsWrongWithTheFile) {
  EXPECT_NE(why_not().find("no resource manager has written its address"), std::string::npos)
      << why_not();
  write("# nothing\n");
  EXPECT_NE(why_not().find("holds no address"), std::string::npos) << why_not();
  write("http://elsewhere\n");
  EXPECT_NE(why_not().find("http://elsewhere"), std::string::npos) << why_not();
  std::filesystem::remove(directory_ + "/" + kManagerAddressFile);
  std::filesystem::create_directory(directory_ + "/" + kManagerAddressFile);
  EXPECT_NE(why_not().find("address file"), std::string::npos) << why_not();
}

}  // namespace
}  // namespace sublet::wire
