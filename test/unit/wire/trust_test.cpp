#include "support/temp_directory.hpp"
#include <base/private_path.hpp>
#include <wire/trust.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace sublet::wire {
namespace {

class KeyFile : public ::testing::Test {
 protected:
  std::string make(const std::string& name = "key") {
    std::string path = directory_.path() + "/" + name;
    EXPECT_TRUE(Key::make(path));
    return path;
  }
  std::string write(const std::string& content) {
    std::string path = directory_.path() + "/written";
    std::ofstream(path) << content;
    EXPECT_EQ(::chmod(path.c_str(), 0600), 0);
    return path;
  }
  test::TempDirectory directory_;
};

std::string error_of(const Result<Key>& key) {
  return key ? "no error" : key.error().what();
}

TEST_F(KeyFile, IsMadeForItsOwnerAloneAndReadAgain) {
  const std::string path = directory_.path() + "/a/b/key";
  ASSERT_TRUE(Key::make(path));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto first = Key::read(path);
  const auto second = Key::read(path);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->bytes(), second->bytes());
  EXPECT_EQ(first->owner_uid(), ::geteuid());
  EXPECT_EQ(first->id_text().size(), 16u);
}

TEST_F(KeyFile, IsNeverWrittenOver) {
  const std::string path = make();
  const auto before = Key::read(path);
  const auto again = Key::make(path);
  ASSERT_FALSE(again);
  EXPECT_NE(std::string(again.error().what()).find("is there already"), std::string::npos);
  EXPECT_EQ(Key::read(path)->bytes(), before->bytes());
}

TEST_F(KeyFile, DiffersFromEveryOther) {
  const auto one = Key::read(make("one"));
  const auto two = Key::read(make("two"));
  EXPECT_NE(one->bytes(), two->bytes());
  EXPECT_NE(one->id(), two->id());
}

TEST_F(KeyFile, IsRefusedWhenOthersMayReadIt) {
  const std::string path = make();
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const auto key = Key::read(path);
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().kind(), ErrorKind::kDenied);
    EXPECT_NE(error_of(key).find("chmod 600 " + path), std::string::npos) << error_of(key);
  }
}

TEST_F(KeyFile, IsRefusedWhenItHoldsNone) {
  const std::string good = "A23456789012345678901234567890123456789012A=";
  EXPECT_TRUE(Key::read(write("sublet-key-1 " + good)));
  EXPECT_TRUE(Key::read(write("# a word before\nsublet-key-1 " + good + "\nmore\n")));
  for (const std::string& content :
       {std::string(), std::string("sublet-key-1 "), "sublet-key-2 " + good,
        "sublet-key-1 A" + good, "sublet-key-1 " + good.substr(4), "sublet-key-1 " + good + "=",
        "x sublet-key-1 " + good, std::string(1000000, 'A'), std::string(100, '\0')}) {
    const auto key = Key::read(write(content));
    ASSERT_FALSE(key) << content.substr(0, 80);
    EXPECT_EQ(key.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(error_of(key).find("sublet key new"), std::string::npos);
  }
}

TEST_F(KeyFile, IsRefusedWhenItIsNoFile) {
  const std::string fifo = directory_.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_NE(error_of(Key::read(fifo)).find("no regular file"), std::string::npos);
  EXPECT_FALSE(Key::read(directory_.path()));
  EXPECT_FALSE(Key::read(directory_.path() + "/not-there"));
}

TEST_F(KeyFile, ThatIsNamedAndBadIsToldWhenItIsNeeded) {
  const auto trust = Trust::load({.key_files = {directory_.path() + "/not-there"}});
  ASSERT_FALSE(trust->can_prove());
  EXPECT_NE(std::string(trust->can_prove().error().what()).find("not-there"), std::string::npos);
}

TEST_F(KeyFile, OfSeveralEachIsFound) {
  const auto trust = Trust::load({.key_files = {make("one"), make("two")}});
  ASSERT_EQ(trust->keys().size(), 2u);
  EXPECT_EQ(trust->find(trust->keys()[1].id()), &trust->keys()[1]);
  EXPECT_EQ(trust->find({}), nullptr);
}

TEST(Trust, BelievesRootAndItselfAndWhomItIsTold) {
  const auto plain = Trust::load({});
  EXPECT_TRUE(plain->believes_manager_of(0));
  EXPECT_TRUE(plain->believes_manager_of(::geteuid()));
  EXPECT_FALSE(plain->believes_manager_of(54321));
  EXPECT_TRUE(Trust::load({.manager_user = "54321"})->believes_manager_of(54321));
  const auto nobody = Trust::load({.manager_user = "no-such-user-here"});
  ASSERT_FALSE(nobody->problem());
  EXPECT_NE(std::string(nobody->problem().error().what()).find("no-such-user-here"),
            std::string::npos);
}

TEST(OwnedPath, IsRefusedWhereOthersMayPutThings) {
  test::TempDirectory directory;
  const auto mine = [](uid_t uid) { return uid == ::geteuid(); };
  const std::string path = directory.path() + "/socket";
  EXPECT_TRUE(base::check_owned_path(path, "it", mine));
  EXPECT_FALSE(base::check_owned_path(path, "it", [](uid_t) { return false; }));
  ASSERT_EQ(::chmod(directory.path().c_str(), 0777), 0);
  const auto refused = base::check_owned_path(path, "it", mine);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kDenied);
  ASSERT_EQ(::chmod(directory.path().c_str(), 01777), 0);
  EXPECT_TRUE(base::check_owned_path(path, "it", mine));
}

}  // namespace
}  // namespace sublet::wire
