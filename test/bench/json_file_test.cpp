#include "support/temp_directory.hpp"

#include <bench/report.hpp>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace sublet::bench {
namespace {

namespace fs = std::filesystem;

class JsonFileTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return (folder_ / "out.json").string(); }
  [[nodiscard]] std::string content() const {
    std::ostringstream text;
    text << std::ifstream(path()).rdbuf();
    return text.str();
  }

  const test::TempDirectory temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(JsonFileTest, ReplacesWhatWasThere) {
  std::ofstream(path()) << "something older and longer";
  auto file = JsonFile::open(path());
  ASSERT_TRUE(file) << file.error().what();
  EXPECT_EQ(content(), "something older and longer");
  ASSERT_TRUE(file->write("{}"));
  EXPECT_EQ(content(), "{}");
}

TEST_F(JsonFileTest, LeavesAnOldFileWhenThereIsNothingToWrite) {
  std::ofstream(path()) << "old";
  { ASSERT_TRUE(JsonFile::open(path())); }
  EXPECT_EQ(content(), "old");
}

TEST_F(JsonFileTest, LeavesNoNewFileWhenThereIsNothingToWrite) {
  { ASSERT_TRUE(JsonFile::open(path())); }
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(JsonFileTest, SaysWhichFileCannotBeWritten) {
  const std::string bad = (folder_ / "missing" / "out.json").string();
  for (const std::string& name : {bad, folder_.string()}) {
    const auto file = JsonFile::open(name);
    ASSERT_FALSE(file) << name;
    EXPECT_NE(std::string(file.error().what()).find(name), std::string::npos);
  }
}

}  // namespace
}  // namespace sublet::bench
