// What functions find around them, and what becomes of the children that they start.

#include "functions_under_test.hpp"
#include "support/temp_directory.hpp"
#include <topology/topology.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cfenv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::executor {
namespace {

using transport::Arena;

/// The worker's memory, and the whole lease's, survive whatever becomes of a child.
TEST(ChildOfFunction, EndsAsItWouldInAnyProgram) {
  Functions functions;
  for (const auto& [name, outcome] : std::vector<std::pair<std::string, std::uint64_t>>{
           {"child_execs_in_vain", 127},
           {"child_quits", 5},
           {"child_aborts", 1000 + SIGABRT},
           {"child_crashes", 1000 + SIGSEGV},
           {"child_ends_its_thread", 0},
           {"child_of_thread_exits", 9},
           {"vforked_child_execs_in_vain", 126},
           {"terminates_spawned_child", 1000 + SIGTERM},
           {"interrupts_forked_child", 1000 + SIGINT}}) {
    EXPECT_EQ(functions.ask<std::uint64_t>(name), outcome) << name;
  }
  EXPECT_FALSE(ended_within(functions.executor().pidfd.get(), std::chrono::milliseconds(0)));
}

TEST(ChildOfFunction, EndsWhereTheFunctionWouldReturn) {
  Functions functions;
  EXPECT_EQ(functions.ask<std::uint64_t>("child_returns"), 1u);
  EXPECT_EQ(functions.ask<std::uint64_t>("child_throws"), 1u);
}

/// A child that the handlers of pthread_atfork do not see.
TEST(ChildOfFunction, MadeByCloneEndsAsAnyOther) {
  Functions functions;
  for (const auto& [name, outcome] : std::vector<std::pair<std::string, std::uint64_t>>{
           {"cloned_child_returns", 1},
           {"cloned_child_throws", 1},
           {"cloned_child_crashes", 1000 + SIGSEGV},
           {"cloned_child_runs_exit_handlers", 7},
           {"terminates_cloned_child", 1000 + SIGTERM}}) {
    EXPECT_EQ(functions.ask<std::uint64_t>(name), outcome) << name;
  }
  EXPECT_FALSE(ended_within(functions.executor().pidfd.get(), std::chrono::milliseconds(0)));
}

TEST(ChildOfFunction, LeavesTheExecutorItsReports) {
  Functions functions;
  EXPECT_EQ(functions.ask<std::uint64_t>("vforked_child_execs_in_vain"), 126u);
  EXPECT_EQ(functions.ask<std::uint64_t>("child_execs_in_vain"), 127u);
  const std::int32_t code = 3;
  std::uint8_t out = 0;
  const CallResult result = functions.call("exits", &code, sizeof(code), &out, sizeof(out));
  EXPECT_EQ(result.status, Status::kExited);
  EXPECT_NE(result.error.find("called exit(3)"), std::string::npos) << result.error;
}

TEST(ChildOfFunction, BelongsToItsExecutorAlone) {
  ZygoteUnderTest zygote;
  std::vector<ExecutorUnderTest> executors;
  std::vector<base::Fd> left;
  executors.reserve(2);
  for (std::size_t i = 0; i < 2; ++i) {
    executors.push_back(zygote.spawn());
    executors[i].open_all(TEST_FUNCTIONS, {"leave_process"});
    auto channel =
        executors[i].connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
    std::int32_t pid = 0;
    ASSERT_EQ(call(channel, 0, nullptr, 0, &pid, sizeof(pid)).status, Status::kOk);
    left.push_back(watch_process(pid));
    ASSERT_TRUE(left.back().valid());
  }
  ASSERT_EQ(::kill(executors[0].pid, SIGKILL), 0);
  (void)zygote.exit_of(executors[0].pid);
  EXPECT_TRUE(ended_within(left[0].get(), kPatience));
  // That was what the zygote does at an end: a second one follows it.
  const ExecutorUnderTest third = zygote.spawn();
  ASSERT_EQ(::kill(third.pid, SIGKILL), 0);
  (void)zygote.exit_of(third.pid);
  EXPECT_FALSE(ended_within(left[1].get(), std::chrono::milliseconds(0)));
  ASSERT_EQ(::kill(executors[1].pid, SIGKILL), 0);
  EXPECT_TRUE(ended_within(left[1].get(), kPatience));
}

TEST(Surroundings, HaveNoVariablesThatBindThreadsOrJoinJobs) {
  Functions functions({"OMP_PROC_BIND=true", "OMP_PLACES=cores", "OMP_NUM_THREADS=64",
                       "OMP_THREAD_LIMIT=1", "GOMP_CPU_AFFINITY=0-3", "KMP_AFFINITY=compact",
                       "OPENBLAS_NUM_THREADS=64", "OMPI_COMM_WORLD_RANK=3", "PMIX_RANK=3",
                       "PMI_RANK=3", "SLURM_PROCID=3", "OF_NO_CONCERN=kept"});
  for (const char* name :
       {"OMP_PROC_BIND", "OMP_PLACES", "OMP_THREAD_LIMIT", "GOMP_CPU_AFFINITY", "KMP_AFFINITY",
        "OPENBLAS_NUM_THREADS", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    EXPECT_EQ(functions.text("variable", name), "-") << name;
  }
  EXPECT_EQ(functions.text("variable", "OF_NO_CONCERN"), "kept");
}

TEST(Surroundings, CountTheCoresOfOneWorker) {
  const auto machine = topology::Topology::load().value_or_throw();
  const auto& core = machine.cores().front().cpuset;
  Functions functions({}, {.workers = 2, .cpusets = core.to_list() + ";" + core.to_list()});
  EXPECT_EQ(functions.text("variable", "OMP_NUM_THREADS"), "1");
  Functions wide({"OMP_NUM_THREADS=64"}, {.cores_per_worker = 3});
  EXPECT_EQ(wide.text("variable", "OMP_NUM_THREADS"), "3");
}

TEST(Surroundings, ShowTheGpusOfTheLeaseAndNoOthers) {
  const std::vector<std::string> managers{"CUDA_VISIBLE_DEVICES=0,1,2", "ROCR_VISIBLE_DEVICES=3",
                                          "HIP_VISIBLE_DEVICES=0", "GPU_DEVICE_ORDINAL=0"};
  Functions none(managers);
  EXPECT_EQ(none.text("variable", "CUDA_VISIBLE_DEVICES"), "") << "it is there, and empty";
  EXPECT_EQ(none.text("variable", "ROCR_VISIBLE_DEVICES"), "");
  EXPECT_EQ(none.text("variable", "HIP_VISIBLE_DEVICES"), "-") << "a number of the manager's";
  EXPECT_EQ(none.text("variable", "GPU_DEVICE_ORDINAL"), "-");
  const std::string first = "GPU-11111111-aaaa-bbbb-cccc-000000000001";
  const std::string slice = "MIG-22222222-aaaa-bbbb-cccc-000000000002";
  Functions some(managers, {.gpus = slice + ",GPU-4f1a0c2d3e4b5a69," + first});
  EXPECT_EQ(some.text("variable", "CUDA_VISIBLE_DEVICES"), slice + "," + first);
  EXPECT_EQ(some.text("variable", "ROCR_VISIBLE_DEVICES"), "GPU-4f1a0c2d3e4b5a69");
}

TEST(Surroundings, KeepEveryThreadOnTheLeasedCores) {
  const auto machine = topology::Topology::load().value_or_throw();
  const auto& core = machine.cores().back().cpuset;
  Functions functions({}, {.cpusets = core.to_list()});
  const auto mask = functions.ask<std::uint64_t>("all_affinities");
  for (unsigned i = 0; i < 64; ++i) {
    if ((mask >> i & 1) == 0) continue;
    EXPECT_TRUE(core.contains(topology::Cpuset::parse(std::to_string(i)).value_or_throw())) << i;
  }
}

TEST(Surroundings, HaveDefaultSignalsWhateverTheParentIgnores) {
  const auto chld = ::signal(SIGCHLD, SIG_IGN);
  const auto pipe = ::signal(SIGPIPE, SIG_IGN);
  const auto term = ::signal(SIGTERM, SIG_IGN);
  Functions functions;
  ::signal(SIGCHLD, chld);
  ::signal(SIGPIPE, pipe);
  ::signal(SIGTERM, term);
  EXPECT_EQ(functions.text("status_line", "SigIgn"), "0000000000000000");
  EXPECT_EQ(functions.text("status_line", "SigBlk"), "0000000000000000");
  EXPECT_EQ(functions.ask<std::uint64_t>("terminates_spawned_child"), 1000u + SIGTERM);
}

TEST(Surroundings, HaveAWorkingDirectoryThatIsThere) {
  namespace fs = std::filesystem;
  const fs::path here = fs::current_path();
  {
    const test::TempDirectory directory;
    fs::current_path(directory.path());
    Functions functions;
    EXPECT_EQ(functions.text("working_directory"), fs::canonical(directory.path()).string());
  }
  Functions functions;
  fs::current_path(here);
  EXPECT_EQ(functions.text("working_directory"), "/");
}

TEST(Surroundings, AreThoseOfTheExecutorsUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  namespace fs = std::filesystem;
  const fs::path here = fs::current_path();
  const test::TempDirectory directory;  // mode 0700
  fs::current_path(directory.path());
  Functions functions({"HOME=/root"}, {.uid = 65534, .gid = 65534});
  fs::current_path(here);
  EXPECT_NE(functions.text("variable", "HOME"), "/root");
  EXPECT_EQ(functions.text("working_directory"), "/");
}

TEST(Surroundings, HaveNothingToRead) {
  Functions functions;
  EXPECT_EQ(functions.ask<std::int64_t>("read_input"), 0);
}

TEST(Surroundings, PassOnWhatFunctionsPrint) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const base::Fd reader(ends[0]);
  const int kept = ::dup(STDOUT_FILENO);
  ::fflush(stdout);
  ::dup2(ends[1], STDOUT_FILENO);
  ::close(ends[1]);
  auto functions = std::make_unique<Functions>();
  ::dup2(kept, STDOUT_FILENO);
  ::close(kept);
  const auto read_some = [&] {
    char text[256];
    const ssize_t size = ::read(reader.get(), text, sizeof(text));
    return std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  };
  const std::uint32_t number = 17;
  std::uint8_t out = 0;
  ASSERT_EQ(functions->call("print_line", &number, 4, &out, 1).status, Status::kOk);
  EXPECT_EQ(read_some(), "printed 17\n");  // while the lease goes on
  ASSERT_EQ(functions->call("print_part_of_line", &number, 4, &out, 1).status, Status::kOk);
  functions->executor().control.reset();
  (void)functions->zygote().exit_of(functions->executor().pid);
  EXPECT_EQ(read_some(), "part 17");
}

TEST(Surroundings, ComputeAsEachLibraryWantsIt) {
  Functions functions;
  EXPECT_EQ(functions.ask<std::int32_t>("rounding"), FE_TONEAREST);
  std::int32_t mode = -1;
  ASSERT_EQ(functions.call("rounding", nullptr, 0, &mode, 4, ROUNDING_ON_LOAD_LIBRARY).status,
            Status::kOk);
  EXPECT_EQ(mode, FE_UPWARD);
  EXPECT_EQ(functions.ask<std::int32_t>("rounding"), FE_TONEAREST);
}

class Stack : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(Stack, IsFullWhateverTheFrame) {
  Functions functions({}, {.workers = 2, .stack_bytes = 1u << 20});
  const std::uint64_t fits = 512u << 10;
  std::uint64_t out = 0;
  EXPECT_EQ(functions.call("large_frame", &fits, 8, &out, 8).status, Status::kOk);
  const std::uint64_t bytes = (std::uint64_t{1} << 20) + GetParam();
  const CallResult result = functions.call("large_frame", &bytes, 8, &out, 8);
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_NE(result.error.find("its stack is full"), std::string::npos) << result.error;
}
INSTANTIATE_TEST_SUITE_P(Frames, Stack,
                         ::testing::Values(0, 60u << 10, 100u << 10, 1u << 20, 9u << 20, 64u << 20,
                                           1u << 30));

}  // namespace
}  // namespace sublet::executor
