#include "support/temp_directory.hpp"
#include <client/executor_list.hpp>

#include <gtest/gtest.h>

#include <fstream>

namespace sublet::client {
namespace {

TEST(ExecutorList, IsOfAddressesWhenItBeginsAsOneDoes) {
  const auto listed = read_executors("tcp:node1:10006,unix:/run/em.sock,,tcp:[::1]:7");
  ASSERT_TRUE(listed) << listed.error().what();
  ASSERT_EQ(listed->size(), 3u);
  EXPECT_EQ(listed->at(0).address, "tcp:node1:10006");
  EXPECT_EQ(listed->at(1).address, "unix:/run/em.sock");
  EXPECT_EQ(listed->at(0).cores, ~std::uint32_t{0});
  EXPECT_EQ(read_executors("tcp:node1:10006,node2").error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(read_executors("tcp:").error().kind(), ErrorKind::kInvalid);
}

/// The seed's example, with members that are not ours.
TEST(ExecutorList, IsReadFromTheSeedsFile) {
  const test::TempDirectory directory;
  const std::string path = directory.path() + "/executors_database.json";
  std::ofstream(path) << R"({"version": 1, "executors": [
    {"port": 10006, "cores": 1, "address": "192.168.0.21", "rack": "a"},
    {"port": 10007, "address": "fe80::1"}]})";
  const auto listed = read_executors(path);
  ASSERT_TRUE(listed) << listed.error().what();
  ASSERT_EQ(listed->size(), 2u);
  EXPECT_EQ(listed->at(0).address, "tcp:192.168.0.21:10006");
  EXPECT_EQ(listed->at(0).cores, 1u);
  EXPECT_EQ(listed->at(1).address, "tcp:[fe80::1]:10007");
  EXPECT_EQ(listed->at(1).cores, ~std::uint32_t{0});
}

}  // namespace
}  // namespace sublet::client
