// Ranks that lease workers, offload to them and gather what they did.

#include "world.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <vector>

namespace sublet::mpi {
namespace {

TEST(Offload, EveryRankCallsItsOwnWorker) {
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  ASSERT_EQ(workers->lease().workers(), 1u);
  auto twice = workers->lease().function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice");
  ASSERT_TRUE(twice.has_value()) << twice.error().what();
  const double base = 1000.0 * rank_of(MPI_COMM_WORLD);
  for (int i = 0; i < 200; ++i) {
    const auto result = (*twice)(base + i);
    ASSERT_TRUE(result.has_value()) << result.error().what();
    ASSERT_EQ(*result, 2 * (base + i));
  }
}

TEST(Offload, GivesEachRankSeveralWorkersWhenAskedTo) {
  auto options = options_for_any_machine();
  options.workers_per_rank = 2;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  EXPECT_EQ(workers->lease().workers(), 2u);
  expect_works(*workers);
}

TEST(Offload, OverlapsCallsWithMessagesBetweenRanks) {
  constexpr std::size_t kCalls = 64;
  constexpr std::size_t kValues = 512;
  const MPI_Comm comm = MPI_COMM_WORLD;
  const int rank = rank_of(comm);
  const int size = size_of(comm);
  auto workers = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  Lease& lease = workers->lease();
  auto twice_each = lease.function(SUBLET_TEST_FUNCTIONS, "twice_each").value_or_throw();
  auto in = lease.buffer<double>(kCalls * kValues).value_or_throw();
  auto out = lease.buffer<double>(kCalls * kValues).value_or_throw();
  std::iota(in.begin(), in.end(), 1e6 * rank);

  std::vector<Call> calls;
  for (std::size_t i = 0; i < kCalls; ++i) {
    calls.push_back(twice_each.async(&in[i * kValues], kValues * sizeof(double), &out[i * kValues],
                                     kValues * sizeof(double)));
    double from_neighbour = -1;
    const double mine = rank;
    MPI_Sendrecv(&mine, 1, MPI_DOUBLE, (rank + 1) % size, 0, &from_neighbour, 1, MPI_DOUBLE,
                 (rank + size - 1) % size, 0, comm, MPI_STATUS_IGNORE);
    ASSERT_EQ(from_neighbour, (rank + size - 1) % size);
  }
  for (Call& call : calls) ASSERT_TRUE(call.wait().ok()) << call.error();
  for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], 2 * in[i]) << "at " << i;
}

TEST(Offload, LeasesForPartsOfTheWorldBesideEachOther) {
  const int rank = rank_of(MPI_COMM_WORLD);
  MPI_Comm part = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &part);
  {
    auto workers = Allocator::create(part, options_for_any_machine());
    ASSERT_TRUE(workers.has_value()) << workers.error().what();
    expect_works(*workers);
  }
  MPI_Comm_free(&part);
}

TEST(Offload, KeepsItsMessagesApartFromTheApplications) {
  // A receive for anything from anybody is the greediest the application can post.
  int nothing = 0;
  MPI_Request greedy = MPI_REQUEST_NULL;
  MPI_Irecv(&nothing, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &greedy);
  {
    auto options = options_for_any_machine();
    options.session.trace = true;
    auto workers = Allocator::create(MPI_COMM_WORLD, options);
    ASSERT_TRUE(workers.has_value()) << workers.error().what();
    expect_works(*workers);
    EXPECT_TRUE(workers->usage().has_value());
    EXPECT_TRUE(workers->write_trace("/dev/null").has_value());
  }
  int received = 0;
  MPI_Test(&greedy, &received, MPI_STATUS_IGNORE);
  EXPECT_EQ(received, 0);
  if (received == 0) {
    MPI_Cancel(&greedy);
    MPI_Wait(&greedy, MPI_STATUS_IGNORE);
  }
}

TEST(Usage, AddsUpAllRanks) {
  constexpr int kCalls = 50;
  auto workers = Allocator::create(MPI_COMM_WORLD, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  auto twice =
      workers->lease().function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  for (int i = 0; i < kCalls; ++i) ASSERT_TRUE(twice(i).has_value());

  // A worker counts a call after it has replied, so the last one may be missing for a moment. The
  // answer is the same on all ranks: they ask equally often.
  const auto ranks = static_cast<std::uint64_t>(size_of(MPI_COMM_WORLD));
  auto usage = workers->usage();
  for (int i = 0; i < 1000 && usage && usage->invocations < ranks * kCalls; ++i) {
    usage = workers->usage();
  }
  ASSERT_TRUE(usage.has_value()) << usage.error().what();
  EXPECT_EQ(usage->invocations, ranks * kCalls);
  EXPECT_EQ(usage->bytes_in, ranks * kCalls * sizeof(double));
  EXPECT_EQ(usage->bytes_out, ranks * kCalls * sizeof(double));
  EXPECT_GT(usage->core_seconds, 0);
}

TEST(Usage, FailsOnAllRanksWhenOneHasReleasedItsWorkers) {
  const MPI_Comm comm = MPI_COMM_WORLD;
  auto workers = Allocator::create(comm, options_for_any_machine());
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  const int last = size_of(comm) - 1;
  if (rank_of(comm) == last) workers->release();
  const std::string text = expect_same_failure(comm, workers->usage());
  EXPECT_NE(text.find("rank " + std::to_string(last) + " has released"), std::string::npos) << text;
}

/// A file name that all ranks agree on.
std::string shared_file(const std::string& name) {
  std::string path;
  if (rank_of(MPI_COMM_WORLD) == 0) {
    auto pattern = (std::filesystem::temp_directory_path() / "sublet-mpi-XXXXXX").string();
    path = std::string(::mkdtemp(pattern.data())) + "/" + name;
  }
  return text_of_rank_0(MPI_COMM_WORLD, path);
}

TEST(Timeline, HasARowForEachRankAndASliceForEachCall) {
  constexpr int kCalls = 25;
  const std::string path = shared_file("timeline.json");
  auto options = options_for_any_machine();
  options.session.trace = true;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  auto twice =
      workers->lease().function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  for (int i = 0; i < kCalls; ++i) ASSERT_TRUE(twice(i).has_value());
  const auto written = workers->write_trace(path);
  ASSERT_TRUE(written.has_value()) << written.error().what();

  if (rank_of(MPI_COMM_WORLD) == 0) {
    std::ifstream file(path);
    const auto trace = nlohmann::json::parse(file);
    std::map<int, std::string> names;
    std::map<int, int> slices;
    for (const auto& event : trace.at("traceEvents")) {
      const int pid = event.at("pid");
      if (event.at("name") == "process_name") names[pid] = event.at("args").at("name");
      if (event.at("name") == "twice") ++slices[pid];
    }
    for (int rank = 0; rank < size_of(MPI_COMM_WORLD); ++rank) {
      EXPECT_EQ(names[rank], "rank " + std::to_string(rank));
      EXPECT_EQ(slices[rank], kCalls) << "of rank " << rank;
    }
    std::filesystem::remove_all(std::filesystem::path(path).parent_path());
  }
}

TEST(Timeline, FailsOnAllRanksWhenItsFileCannotBeWritten) {
  auto options = options_for_any_machine();
  options.session.trace = true;
  auto workers = Allocator::create(MPI_COMM_WORLD, options);
  ASSERT_TRUE(workers.has_value()) << workers.error().what();
  expect_works(*workers);
  const std::string path = "/nonexistent/timeline.json";
  const std::string text = expect_same_failure(MPI_COMM_WORLD, workers->write_trace(path));
  EXPECT_NE(text.find(path), std::string::npos) << text;
  // The disk is full after all the events have come in.
  const std::string full = expect_same_failure(MPI_COMM_WORLD, workers->write_trace("/dev/full"));
  EXPECT_NE(full.find("No space left"), std::string::npos) << full;
}

}  // namespace
}  // namespace sublet::mpi
