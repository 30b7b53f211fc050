#include <bench/companion.hpp>
#include <bench/cpus.hpp>
#include <bench/mpi_compare.hpp>
#include <gtest/gtest.h>
#include <stdlib.h>

namespace sublet::bench {
namespace {

class OpenMpi : public testing::Test {
 protected:
  void SetUp() override {
    const auto allowed = allowed_cpus();
    ASSERT_TRUE(allowed) << allowed.error().what();
    if (allowed->size() < 2) GTEST_SKIP() << "benchmarks need two cores";
    if (!find_companion("sublet-mpi-pingpong")) GTEST_SKIP() << "built without MPI";
    const auto cpus = choose_cpu_pair(*allowed);
    ASSERT_TRUE(cpus) << cpus.error().what();
    cpus_ = *cpus;
  }

  CpuPair cpus_;
};

TEST_F(OpenMpi, GivesAFigureForEachSize) {
  const auto figures = openmpi_pingpong(cpus_, {{8, 64}, {4096, 16}}, MpiTransport::kEager32k);
  ASSERT_TRUE(figures) << figures.error().what();
  ASSERT_EQ(figures->size(), 2u);
  for (const double us : *figures) EXPECT_GT(us, 0);
}

TEST_F(OpenMpi, IsSaidToBeMissingWhenThereIsNoMpirun) {
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", "/nonexistent", 1);
  const auto figures = openmpi_pingpong(cpus_, {{8, 64}}, MpiTransport::kDefault);
  ::setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(figures);
  EXPECT_EQ(figures.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(std::string(figures.error().what()).find("mpirun"), std::string::npos);
}

TEST_F(OpenMpi, IsNotBelievedWhenItFails) {
  // A core that no rank can be bound to.
  const auto figures = openmpi_pingpong({cpus_.client, 1000}, {{8, 64}}, MpiTransport::kDefault);
  ASSERT_FALSE(figures);
}

TEST(Companion, IsSaidToBeMissingWithThePlacesLookedAt) {
  const auto found = find_companion("no-such-companion");
  ASSERT_FALSE(found);
  EXPECT_NE(std::string(found.error().what()).find("no-such-companion"), std::string::npos);
  EXPECT_NE(std::string(found.error().what()).find("libexec/sublet"), std::string::npos);
}

}  // namespace
}  // namespace sublet::bench
