#include <client/job.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace sublet::client {
namespace {

class JobTest : public testing::Test {
 protected:
  JobTest() {
    for (const char* name : kVariables) ::unsetenv(name);
  }
  ~JobTest() override {
    for (const char* name : kVariables) ::unsetenv(name);
  }
  static constexpr const char* kVariables[] = {"PMIX_NAMESPACE", "SLURM_STEP_ID", "SLURM_JOB_ID",
                                               "PMI_RANK"};
};

TEST_F(JobTest, IsTheProcessOfAProgramThatNobodyLaunched) {
  const std::string alone = find_job().name;
  EXPECT_EQ(alone, find_job().name);
  EXPECT_NE(alone.find(std::to_string(::getpid())), std::string::npos) << alone;
  EXPECT_FALSE(find_job().launched);
}

TEST_F(JobTest, IsOneForAllRanksAndAnotherForAnotherJob) {
  ::setenv("PMIX_NAMESPACE", "77", 1);
  const std::string pmix = find_job().name;
  ::setenv("PMIX_NAMESPACE", "78", 1);
  EXPECT_NE(find_job().name, pmix);
  ::unsetenv("PMIX_NAMESPACE");

  ::setenv("SLURM_JOB_ID", "7", 1);
  ::setenv("SLURM_STEP_ID", "0", 1);
  const std::string step = find_job().name;
  ::setenv("SLURM_STEP_ID", "1", 1);
  EXPECT_NE(find_job().name, step);
  ::unsetenv("SLURM_STEP_ID");

  ::setenv("PMI_RANK", "0", 1);
  const std::string rank = find_job().name;
  ::setenv("PMI_RANK", "1", 1);
  EXPECT_EQ(find_job().name, rank);
  EXPECT_NE(rank.find(std::to_string(::getppid())), std::string::npos) << rank;
  EXPECT_TRUE(find_job().launched);
}

TEST_F(JobTest, StaysWhenMpiChangesTheEnvironment) {
  const std::string before = this_job().name;
  ::setenv("PMIX_NAMESPACE", "79", 1);
  EXPECT_EQ(this_job().name, before);
}

}  // namespace
}  // namespace sublet::client
