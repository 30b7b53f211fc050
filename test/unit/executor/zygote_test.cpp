// Life and death of the zygote and its executors.

#include "surroundings.hpp"
#include "zygote_under_test.hpp"
#include <topology/topology.hpp>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

namespace sublet::executor {
namespace {

using namespace std::chrono_literals;
using transport::Arena;

Surroundings surroundings_of(ExecutorUnderTest& executor, std::uint32_t worker = 0) {
  const auto arena = Arena::create(1u << 20).value_or_throw();
  auto channel = executor.connect(worker, arena).value_or_throw();
  auto* out = static_cast<Surroundings*>(arena->allocate(sizeof(Surroundings)));
  const CallResult result = call(channel, 0, nullptr, 0, out, sizeof(Surroundings));
  EXPECT_EQ(result.status, Status::kOk) << result.error;
  return *out;
}

TEST(Zygote, MeasuresTheTickRate) {
  const ZygoteUnderTest zygote;
  const double here = base::TickRate::get().ticks_per_ns();
  EXPECT_NEAR(zygote.ticks_per_ns() / here, 1.0, 0.01);
}

TEST(Zygote, RefusesBadCommandLines) {
  const auto run = [](const std::string& arguments) {
    const std::string program = SUBLET_EXECUTOR;
    return WEXITSTATUS(std::system((program + arguments + " >/dev/null 2>&1").c_str()));
  };
  for (const char* arguments :
       {"", " --zygote", " --zygote 2", " --zygote 200", " --zygote x", " -q"}) {
    EXPECT_EQ(run(arguments), 2) << arguments;
  }
  EXPECT_EQ(run(" --version"), 0);
}

// A batch system tells all processes of a step, and not the manager alone.
TEST(Zygote, AndItsExecutorsLeaveSignalsThatEndManagersToTheManager) {
  ZygoteUnderTest zygote;
  ExecutorUnderTest executor = zygote.spawn();
  executor.open_all(TEST_FUNCTIONS, {"surroundings"});
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    ASSERT_EQ(::kill(executor.pid, number), 0);
    ASSERT_EQ(::kill(zygote.pid(), number), 0);
  }
  surroundings_of(executor);
  ExecutorUnderTest another = zygote.spawn();
  another.open_all(TEST_FUNCTIONS, {"surroundings"});
  surroundings_of(another);
}

TEST(Zygote, EndsWhenItsManagerCloses) {
  ZygoteUnderTest zygote;
  std::vector<ExecutorUnderTest> executors;
  executors.reserve(3);
  for (int i = 0; i < 3; ++i) executors.push_back(zygote.spawn());
  // One of them is inside a function.
  executors[0].open_all(TEST_FUNCTIONS, {"sleep_long"});
  auto channel = executors[0].connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  transport::Ticket ticket;
  ASSERT_EQ(channel.submit({.function = 0}, ticket), Status::kOk);
  const int status = zygote.close_and_wait();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  for (const auto& executor : executors) {
    EXPECT_TRUE(ended_within(executor.pidfd.get(), 0ms));  // before the zygote, not after
  }
}

TEST(Zygote, TakesItsExecutorsWithItWhenKilled) {
  ZygoteUnderTest zygote;
  const ExecutorUnderTest plain = zygote.spawn();
  const bool root = ::geteuid() == 0;
  const ExecutorUnderTest other_user =
      zygote.spawn(root ? SpawnOptions{.uid = 65534, .gid = 65534} : SpawnOptions{});
  ASSERT_EQ(::kill(zygote.pid(), SIGKILL), 0);
  EXPECT_TRUE(ended_within(plain.pidfd.get(), kPatience));
  EXPECT_TRUE(ended_within(other_user.pidfd.get(), kPatience));
}

TEST(Zygote, ReportsTheSignalThatKilledAnExecutor) {
  ZygoteUnderTest zygote;
  ExecutorUnderTest first = zygote.spawn();
  ExecutorUnderTest second = zygote.spawn();
  ASSERT_EQ(::kill(first.pid, SIGKILL), 0);
  const int status = zygote.exit_of(first.pid);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_TRUE(ended_within(first.pidfd.get(), kPatience));
  EXPECT_FALSE(ended_within(second.pidfd.get(), 0ms));
}

TEST(Zygote, RefusesOrdersThatMakeNoSense) {
  ZygoteUnderTest zygote;
  const auto error_of = [&](const SpawnOptions& options) {
    const ExecutorUnderTest executor = zygote.order(options, 99);
    const auto spawned = zygote.receive_spawned().as<wire::Spawned>();
    EXPECT_TRUE(spawned && spawned->request == 99);
    return spawned->error;
  };
  EXPECT_EQ(error_of({.slots = 12}), EINVAL);
  EXPECT_EQ(error_of({.slots = 2048}), EINVAL);
  EXPECT_EQ(error_of({.workers = 2, .cpusets = "0"}), EINVAL);
  EXPECT_EQ(error_of({.workers = 1, .cpusets = "0;0"}), EINVAL);
  EXPECT_EQ(error_of({.workers = 1, .cpusets = "zero"}), EINVAL);
  EXPECT_EQ(error_of({.workers = 2, .cpusets = "0;;0"}), EINVAL);
  EXPECT_EQ(error_of({.workers = 1, .cpusets = "60000"}), EINVAL);  // no machine has that core
  // And goes on.
  EXPECT_GT(zygote.spawn().pid, 0);
}

TEST(Executor, SaysWhyItDoesNotStart) {
  ZygoteUnderTest zygote;
  try {
    (void)zygote.spawn({.accounting_bytes = 64});
    FAIL() << "an executor counts in memory that is too small";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(
        std::string(error.what()),
        "the executor does not start: the peer's shared memory has 64 bytes where it announced " +
            std::to_string(sizeof(wire::WorkerCounters)));
  }
}

TEST(Executor, EndsWhenToldTo) {
  for (const bool by_message : {true, false}) {
    ZygoteUnderTest zygote;
    ExecutorUnderTest executor = zygote.spawn({.workers = 2});
    executor.open_all(TEST_FUNCTIONS, {"spin"});
    auto channel = executor.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
    const std::uint32_t ms = 600'000;
    transport::Ticket ticket;
    ASSERT_EQ(channel.submit({.in = &ms, .in_size = sizeof(ms), .function = 0}, ticket),
              Status::kOk);
    if (by_message) {
      ASSERT_TRUE(wire::send_message(executor.control.get(), wire::MessageType::kStop));
    } else {
      executor.control.reset();
    }
    const int status = zygote.exit_of(executor.pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    transport::ReplyView reply;
    ASSERT_EQ(channel.wait(ticket, reply, base::Deadline::after(kPatience)), Status::kOk);
    EXPECT_EQ(reply.status, Status::kLost);
  }
}

TEST(Executor, LeavesNoProcessOfItsFunctionsBehind) {
  ZygoteUnderTest zygote;
  ExecutorUnderTest executor = zygote.spawn();
  executor.open_all(TEST_FUNCTIONS, {"leave_process"});
  auto channel = executor.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  std::int32_t pid = 0;
  ASSERT_EQ(call(channel, 0, nullptr, 0, &pid, sizeof(pid)).status, Status::kOk);
  const base::Fd left = watch_process(pid);
  ASSERT_TRUE(left.valid());
  ASSERT_EQ(::kill(executor.pid, SIGKILL), 0);
  EXPECT_TRUE(ended_within(left.get(), kPatience));
}

TEST(Executor, HasNoMoreRightsAndFilesThanItNeeds) {
  // The zygote has files of its own by now; the executor must not inherit them.
  ZygoteUnderTest zygote;
  const ExecutorUnderTest other = zygote.spawn();
  ExecutorUnderTest executor = zygote.spawn({.memory_bytes = std::uint64_t{1} << 30});
  executor.open_all(TEST_FUNCTIONS, {"surroundings"});
  const Surroundings s = surroundings_of(executor);
  EXPECT_EQ(s.no_new_privs, 1u);
  EXPECT_EQ(s.core_dump_bytes, 0u);
  EXPECT_EQ(s.uid, ::getuid());
  EXPECT_GT(s.data_bytes, std::uint64_t{1} << 30);
  if (!kSanitizer) {
    EXPECT_LT(s.data_bytes, std::uint64_t{2} << 30);
  }
  // 0-2, control, listening, accounting, library, connection, channel and arena.
  EXPECT_EQ(s.open_files, 10u);
}

TEST(Executor, BecomesTheUserItIsToldTo) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  ZygoteUnderTest zygote;
  ExecutorUnderTest executor = zygote.spawn({.uid = 65534, .gid = 65533});
  executor.open_all(TEST_FUNCTIONS, {"surroundings"});  // needs its own /proc/self/fd
  const Surroundings s = surroundings_of(executor);
  EXPECT_EQ(s.uid, 65534u);
  EXPECT_EQ(s.gid, 65533u);
}

TEST(Executor, PinsEachWorker) {
  const auto machine = topology::Topology::load().value_or_throw();
  std::string cpusets;
  for (const auto& core : machine.cores()) {
    cpusets += (cpusets.empty() ? "" : ";") + core.cpuset.to_list();
  }
  const auto workers = static_cast<std::uint32_t>(machine.cores().size());
  if (workers > 16) GTEST_SKIP() << "the text of many cores does not fit one message";
  ZygoteUnderTest zygote;
  ExecutorUnderTest executor = zygote.spawn({.workers = workers, .cpusets = cpusets});
  executor.open_all(TEST_FUNCTIONS, {"surroundings"});
  for (std::uint32_t i = 0; i < workers; ++i) {
    const Surroundings s = surroundings_of(executor, i);
    EXPECT_EQ(s.cores, machine.cores()[i].cpuset.count());
    EXPECT_TRUE(machine.cores()[i].cpuset.contains(
        topology::Cpuset::parse(std::to_string(s.core)).value_or_throw()));
  }
}

}  // namespace
}  // namespace sublet::executor
