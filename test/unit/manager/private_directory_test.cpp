#include "support/temp_directory.hpp"
#include <cli/private_directory.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace sublet::cli {
namespace {

class PrivateDirectoryTest : public testing::Test {
 protected:
  PrivateDirectoryTest() { ::setenv("XDG_RUNTIME_DIR", parent_.path().c_str(), 1); }
  ~PrivateDirectoryTest() override { ::unsetenv("XDG_RUNTIME_DIR"); }
  const test::TempDirectory parent_;
};

TEST_F(PrivateDirectoryTest, IsOneForAJob) {
  auto first = PrivateDirectory::make("job").value_or_throw();
  const auto second = PrivateDirectory::make("job");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kOverloaded);
  EXPECT_TRUE(PrivateDirectory::make("another job"));
  EXPECT_TRUE(PrivateDirectory::make(""));
}

TEST_F(PrivateDirectoryTest, TellsWhereItsManagerListensWhileThatServes) {
  EXPECT_EQ(PrivateDirectory::announced("job"), "");
  auto directory = PrivateDirectory::make("job").value_or_throw();
  EXPECT_EQ(PrivateDirectory::announced("job"), "");
  ASSERT_TRUE(directory.announce("unix:/there"));
  EXPECT_EQ(PrivateDirectory::announced("job"), "unix:/there");
  directory.withdraw();
  EXPECT_EQ(PrivateDirectory::announced("job"), "");
}

TEST_F(PrivateDirectoryTest, GoesWithItsOwnerAndIsMadeAgain) {
  std::string path;
  {
    auto directory = PrivateDirectory::make("job").value_or_throw();
    path = directory.path();
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(PrivateDirectory::make("job"));
}

}  // namespace
}  // namespace sublet::cli
