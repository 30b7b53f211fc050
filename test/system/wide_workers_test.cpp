// Workers of several cores, and the functions with threads of their own that they are for.

#include "support/managers.hpp"
#include "support/openmp_view.hpp"
#include <sublet/sublet.hpp>
#include <topology/topology.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstdlib>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace sublet {
namespace {

using ::test::OpenmpView;
using test::TestManagers;
using test::TestNode;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

std::uint64_t mask_of(const std::string& cpuset) {
  std::uint64_t mask = 0;
  const auto set = topology::Cpuset::parse(cpuset).value_or_throw();
  for (unsigned i = 0; i < 64; ++i) {
    const auto one = topology::Cpuset::parse(std::to_string(i)).value_or_throw();
    if (set.contains(one)) mask |= std::uint64_t{1} << i;
  }
  return mask;
}

LeaseRequest wide_lease(std::uint32_t workers, std::uint32_t cores_per_worker) {
  LeaseRequest request;
  request.cores = workers;
  request.cores_per_worker = cores_per_worker;
  request.memory_bytes = 64 * kMiB;
  request.arena_bytes = 16 * kMiB;
  request.hot_timeout = std::chrono::milliseconds(0);
  return request;
}

OpenmpView look_around(Lease& lease) {
  auto look =
      lease.function<OpenmpView(std::uint8_t)>(OPENMP_FUNCTIONS, "look_around").value_or_throw();
  return look(0).value_or_throw();
}

/// All that a function of this worker can count is `cores` cores, in `allowed`.
void expect_sees(const OpenmpView& view, std::uint64_t allowed, std::uint32_t cores) {
  const auto processors = static_cast<std::uint32_t>(std::popcount(allowed));
  EXPECT_EQ(view.worker, allowed);
  EXPECT_EQ(view.team | allowed, allowed);
  EXPECT_EQ(view.thread, allowed);
  EXPECT_EQ(view.threads, cores);
  EXPECT_EQ(view.max_threads, cores);
  EXPECT_EQ(view.processors, processors);
  EXPECT_EQ(view.hardware_concurrency, processors);
  EXPECT_EQ(view.processors_of_child, processors);
  EXPECT_EQ(view.bound, 0u);
}

std::string what(const Error& error) {
  return error.what();
}

class WideWorkers : public testing::Test {
 protected:
  void SetUp() override {
    if (topology::Topology::load().value_or_throw().cores().size() < 2) {
      GTEST_SKIP() << "a wide worker needs two cores";
    }
  }
};

TEST_F(WideWorkers, OfAPrivateManagerRunOpenmpOnAllOfTheirCores) {
  const test::TempDirectory directory;
  ::setenv("XDG_RUNTIME_DIR", directory.path().c_str(), 1);
  ::setenv("XDG_CONFIG_HOME", directory.path().c_str(), 1);
  ::unsetenv("SUBLET_MANAGER");
  ::unsetenv("SUBLET_MANAGER_DIR");
  // What a login or a launcher says of its own threads.
  ::setenv("OMP_NUM_THREADS", "7", 1);
  ::setenv("OMP_PROC_BIND", "true", 1);
  ::setenv("OMP_PLACES", "{0}", 1);
  ::setenv("GOMP_CPU_AFFINITY", "0", 1);
  ::setenv("KMP_AFFINITY", "compact", 1);
  auto session = Session::open().value_or_throw();
  ASSERT_TRUE(session.manager_is_private());
  auto lease = session.lease(wide_lease(1, 2)).value_or_throw();
  ASSERT_EQ(lease.workers(), 1u);
  const std::string cpuset = lease.worker(0).cpuset;
  const OpenmpView view = look_around(lease);
  expect_sees(view, mask_of(cpuset), 2);
  EXPECT_EQ(view.loaders_thread, mask_of(cpuset));
}

TEST_F(WideWorkers, OfOneCoreRunOneOpenmpThread) {
  const TestManagers managers({TestNode{.cores = 2, .oversubscribe = 1}});
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease(wide_lease(1, 1)).value_or_throw();
  const OpenmpView view = look_around(lease);
  expect_sees(view, mask_of(lease.worker(0).cpuset), 1);
  EXPECT_EQ(view.loaders_thread, mask_of(lease.worker(0).cpuset));
}

TEST_F(WideWorkers, AreCountedWithAllTheirCores) {
  const TestManagers managers({TestNode{.cores = 2, .oversubscribe = 2}});
  auto session = Session::open(managers.session_options()).value_or_throw();
  EXPECT_EQ(session.nodes().value_or_throw().front().widest_worker, 2u);
  auto lease = session.lease(wide_lease(1, 2)).value_or_throw();
  EXPECT_EQ(session.nodes().value_or_throw().front().free_cores, 2u);
  EXPECT_EQ(session.leases().value_or_throw().front().cores, 2u);
  auto look = lease.function<OpenmpView(std::uint32_t)>(OPENMP_FUNCTIONS, "look_around_for_ms")
                  .value_or_throw();
  ASSERT_TRUE(look(300));
  const Usage usage = lease.usage().value_or_throw();
  EXPECT_GE(usage.core_seconds, 0.6);
  EXPECT_LT(static_cast<double>(usage.compute_ns), usage.core_seconds / 2 * 1e9);
  lease.release();
  managers.wait_for_free_cores(4);
}

TEST_F(WideWorkers, OfOneLeaseKeepToTheirOwnCores) {
  // Two on the same two cores: this machine may have no more.
  const TestManagers managers({TestNode{.cores = 2, .oversubscribe = 2}});
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease(wide_lease(2, 2)).value_or_throw();
  ASSERT_EQ(lease.workers(), 2u);
  auto look = lease.function(OPENMP_FUNCTIONS, "look_around_for_ms").value_or_throw();
  const std::uint32_t ms = 100;
  std::vector<OpenmpView> views(2);
  std::vector<Call> calls(2);
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(look.try_async(i, &ms, sizeof(ms), &views[i], sizeof(OpenmpView), calls[i]),
              Status::kOk);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(calls[i].wait().ok());
    const std::uint64_t own = mask_of(lease.worker(i).cpuset);
    EXPECT_EQ(std::popcount(own), std::popcount(views[i].worker));
    EXPECT_EQ(views[i].worker, own);
    EXPECT_EQ(views[i].team, own);
    EXPECT_EQ(views[i].max_threads, 2u);
  }
  EXPECT_FALSE(session.lease(wide_lease(1, 1)));
}

TEST_F(WideWorkers, RunTbbOnTheirOwnCoresAlone) {
#ifdef TBB_FUNCTIONS
  const TestManagers managers({TestNode{.cores = 2, .oversubscribe = 2}});
  auto session = Session::open(managers.session_options()).value_or_throw();
  struct View {
    std::uint64_t threads, processors;
  };
  // Two workers of one executor see themselves, not the whole lease.
  for (const auto& [workers, width] : {std::pair{2u, 1u}, {1u, 2u}, {2u, 2u}}) {
    auto lease = session.lease(wide_lease(workers, width)).value_or_throw();
    auto look = lease.function(TBB_FUNCTIONS, "look_with_tbb").value_or_throw();
    for (std::uint32_t i = 0; i < workers; ++i) {
      const std::uint8_t in = 0;
      View view{};
      Call call;
      ASSERT_EQ(look.try_async(i, &in, sizeof(in), &view, sizeof(view), call), Status::kOk);
      ASSERT_TRUE(call.wait().ok()) << call.error();
      const std::uint64_t own = mask_of(lease.worker(i).cpuset);
      EXPECT_EQ(view.threads, static_cast<std::uint64_t>(std::popcount(own)));
      EXPECT_EQ(view.processors | own, own);
    }
  }
#else
  GTEST_SKIP() << "TBB (libtbb-dev) is not installed";
#endif
}

TEST_F(WideWorkers, AreRefusedWithWhatTheLargestNodeHas) {
  const TestManagers managers({TestNode{.name = "small", .cores = 1, .oversubscribe = 8},
                               TestNode{.name = "large", .cores = 2, .oversubscribe = 8}});
  auto session = Session::open(managers.session_options("large")).value_or_throw();
  const auto refused = session.lease(wide_lease(1, 3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kOverloaded);
  EXPECT_NE(what(refused.error()).find("asked for 1 worker of 3 cores each"), std::string::npos)
      << what(refused.error());
  EXPECT_NE(what(refused.error()).find("the largest, large, has 2"), std::string::npos)
      << what(refused.error());
}

TEST_F(WideWorkers, AreRefusedWhenTheirNumbersAreOutOfRange) {
  const TestManagers managers;
  auto session = Session::open(managers.session_options()).value_or_throw();
  for (const auto& [workers, width, text] :
       std::vector<std::tuple<std::uint32_t, std::uint32_t, std::string>>{
           {1, 0, "the number of cores per worker is 0; allowed are 1 to 4096"},
           {1, 4097, "the number of cores per worker is 4097; allowed are 1 to 4096"},
           {1, 0xffffffff, "allowed are 1 to 4096"},
           {4096, 4096,
            "a part of 4096 workers of 4096 cores has 16777216 cores; allowed are 4096"},
           {2048, 3, "a part of 2048 workers of 3 cores has 6144 cores"}}) {
    const auto refused = session.lease(wide_lease(workers, width));
    ASSERT_FALSE(refused) << workers << " x " << width;
    EXPECT_EQ(refused.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(what(refused.error()).find(text), std::string::npos) << what(refused.error());
  }
}

TEST_F(WideWorkers, AreKeptByARestartedResourceManager) {
  TestManagers managers({TestNode{.cores = 2, .oversubscribe = 1}});
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease(wide_lease(1, 2)).value_or_throw();
  managers.resource_manager().signal(SIGKILL);
  managers.start_resource_manager();
  managers.wait_for_nodes(1);
  managers.wait_for_free_cores(0);
  EXPECT_EQ(managers.leases().front().cores, 2u);
  expect_sees(look_around(lease), mask_of(lease.worker(0).cpuset), 2);
  lease.release();
  managers.wait_for_free_cores(2);
}

TEST_F(WideWorkers, AreReplacedByWorkersAsWide) {
  TestManagers managers({TestNode{.name = "first", .cores = 2, .oversubscribe = 1}});
  auto session = Session::open(managers.session_options("first")).value_or_throw();
  auto lease = session.lease(wide_lease(1, 2)).value_or_throw();
  auto look =
      lease
          .function<OpenmpView(std::uint8_t)>(OPENMP_FUNCTIONS, "look_around", {.idempotent = true})
          .value_or_throw();
  ASSERT_TRUE(look(0));
  managers.start_node(TestNode{.name = "narrow", .cores = 1, .oversubscribe = 8});
  managers.start_node(TestNode{.name = "second", .cores = 2, .oversubscribe = 1});
  managers.wait_for_nodes(3);
  managers.node(0).signal(SIGKILL);
  const auto view = look(0);
  ASSERT_TRUE(view) << view.error().what();
  EXPECT_EQ(lease.worker(0).node_name, "second");
  expect_sees(*view, mask_of(lease.worker(0).cpuset), 2);
}

}  // namespace
}  // namespace sublet
