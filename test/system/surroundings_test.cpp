// Limits, kernels that refuse system calls, libraries that end executors: all goes on by another
// way, or an error says which limit or call it was. Never a signal, an exception or a changed mask.

#include "command_fixture.hpp"
#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <thread>
#include <tuple>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
using Words = std::vector<std::string>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitizer = true;
#else
constexpr bool kSanitizer = false;
#endif

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Words under_limit(const std::string& limit) {
  return {"/bin/bash", "-c", "ulimit " + limit + "; exec \"$@\"", "limited"};
}

Words refusing(int error, const std::vector<long>& calls) {
  Words words = {built_program("refuse_calls"), std::to_string(error)};
  for (const long call : calls) words.push_back(std::to_string(call));
  words.emplace_back("--");
  return words;
}

class Surroundings : public CommandTest {
 protected:
  Words client(const std::string& function = "next") {
    return {built_program("surrounded_client"), SURROUNDED_FUNCTIONS, function};
  }
  Ended run_private(const Words& before) {
    return run_program(before + client(),
                       {"SUBLET_MANAGER", "SUBLET_MANAGER_DIR", "SUBLET_LOG=info",
                        "SUBLET_PRIVATE_MANAGER_CGROUP=off", "XDG_CONFIG_HOME=" + directory_});
  }
  Ended run_with(const TestManagers& managers, const Words& before) {
    return run_program(before + client(), managers.environment());
  }
  static void expect_ok(const Ended& ended) { EXPECT_EQ(ended.code, 0) << ended.output; }
  static void expect_ok_or(const Ended& ended, const std::string& text) {
    EXPECT_TRUE(ended.code == 0 || ended.code == 1) << ended.code << ": " << ended.output;
    if (ended.code != 0) expect_contains(ended.output, text);
  }
};

// ---- limits ----

struct Limit {
  const char* name;
  const char* limit;
  const char* text;
};
constexpr Limit kLimits[] = {{"FileSize", "-f 1024", "ulimit -f"},
                             {"HardlyAnyFile", "-f 4", "ulimit -f"},
                             {"AddressSpace", "-v 900000", "ulimit -v"},
                             {"Descriptors", "-n 9", "oo many open files"},
                             {"Data", "-d 5000", "ulimit -d"},
                             {"LittleStack", "-s 64", ""},
                             {"NoSignals", "-i 0", ""},
                             {"ProcessorTime", "-t 1", ""},
                             {"LockedMemory", "-l 0", ""}};

void PrintTo(const Limit& limit, std::ostream* out) {
  *out << limit.name;
}

class SurroundingsUnderLimit : public Surroundings, public testing::WithParamInterface<Limit> {};

TEST_P(SurroundingsUnderLimit, ClientWorksOrSaysSo) {
  if (kSanitizer && GetParam().name == std::string("AddressSpace")) {
    GTEST_SKIP() << "a sanitizer needs terabytes of address space";
  }
  const TestManagers managers;
  expect_ok_or(run_with(managers, under_limit(GetParam().limit)), GetParam().text);
  expect_ok(run_with(managers, {}));
}

TEST_P(SurroundingsUnderLimit, ClientWithAPrivateManagerWorksOrSaysSo) {
  if (kSanitizer && GetParam().name == std::string("AddressSpace")) {
    GTEST_SKIP() << "a sanitizer needs terabytes of address space";
  }
  expect_ok_or(run_private(under_limit(GetParam().limit)), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(Limits, SurroundingsUnderLimit, testing::ValuesIn(kLimits),
                         [](const auto& test) { return test.param.name; });

TEST_F(Surroundings, ExecutorManagerRefusesALibraryBeyondItsFileSizeLimit) {
  TestManagers managers({TestNode{.before = under_limit("-f 1024")}});  // 1 MiB
  const std::string large = directory_ + "/large.so";
  std::filesystem::copy_file(SURROUNDED_FUNCTIONS, large);
  std::ofstream(large, std::ios::app) << std::string(2u << 20, 'x');
  const Ended refused =
      run_program({built_program("surrounded_client"), large, "next"}, managers.environment());
  EXPECT_EQ(refused.code, 1) << refused.output;
  expect_contains(refused.output, "function: ");
  expect_contains(refused.output, "ulimit -f");
  EXPECT_FALSE(managers.node(0).wait(0ms)) << "the executor manager has ended";
}

TEST_F(Surroundings, ExecutorManagerWorksUnderLimitsThatLeaseNeedsNot) {
  for (const char* limit : {"-d 200000", "-s 64", "-l 0", "-i 0", "-q 0", "-c 0"}) {
    const TestManagers managers({TestNode{.before = under_limit(limit)}});
    const Ended ended = run_with(managers, {});
    EXPECT_EQ(ended.code, 0) << limit << ": " << ended.output;
  }
}

// ---- system calls that are refused ----

struct Refusal {
  const char* name;
  int error;
  std::vector<long> calls;
  const char* text;  ///< Of the error where there is no other way; null: it works.
};

const Refusal kOfManagers[] = {
    {"PidfdOpenDenied", EPERM, {SYS_pidfd_open}, nullptr},
    {"PidfdOpenUnknown", ENOSYS, {SYS_pidfd_open}, nullptr},
    {"PidfdSignalDenied", EPERM, {SYS_pidfd_send_signal}, nullptr},
    {"MembarrierUnknown", ENOSYS, {SYS_membarrier}, nullptr},
    {"CloseRangeDenied", EPERM, {SYS_close_range}, nullptr},
    {"SchedSetaffinityDenied", EPERM, {SYS_sched_setaffinity}, nullptr},
    {"SchedSetaffinityUnknown", ENOSYS, {SYS_sched_setaffinity}, nullptr},
    {"Faccessat2Denied", EPERM, {439}, nullptr},  // by old containers, where SYS_faccessat2 is new
    {"MemoryPolicyDenied", EPERM, {SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy}, nullptr},
    {"MemoryLocksDenied", EPERM, {SYS_mlock, SYS_mlock2, SYS_munlock}, nullptr},
    {"Clone3Unknown", ENOSYS, {435}, nullptr},
    {"All",
     ENOSYS,
     {SYS_pidfd_open, SYS_pidfd_send_signal, SYS_membarrier, SYS_close_range},
     nullptr},
    {"MemfdDenied", EPERM, {SYS_memfd_create}, "memfd_create"},
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

class SurroundingsWithout : public Surroundings, public testing::WithParamInterface<Refusal> {};

TEST_P(SurroundingsWithout, ManagersWorkOrNameTheCall) {
  const Refusal& refusal = GetParam();
  const TestManagers managers(
      {TestNode{.cores = 1, .oversubscribe = 1, .before = refusing(refusal.error, refusal.calls)}});
  const Ended ended = run_with(managers, {});
  if (refusal.text != nullptr) {
    EXPECT_EQ(ended.code, 1) << ended.output;
    expect_contains(ended.output, refusal.text);
    return;
  }
  expect_ok(ended);
  managers.wait_for_free_cores(1);

  // An executor that does not listen is killed all the same.
  {
    auto session = Session::open(managers.session_options()).value_or_throw();
    auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
    for (const pid_t executor : managers.executors()) ::kill(executor, SIGSTOP);
  }
  managers.wait_for_free_cores(1);
  EXPECT_TRUE(eventually([&] { return managers.executors().empty(); }, 20s));
}

TEST_P(SurroundingsWithout, ClientAndPrivateManagerWorkOrNameTheCall) {
  const Refusal& refusal = GetParam();
  const Ended ended = run_private(refusing(refusal.error, refusal.calls));
  if (refusal.text == nullptr) {
    expect_ok(ended);
  } else {
    expect_ok_or(ended, refusal.text);
  }
}

INSTANTIATE_TEST_SUITE_P(Calls, SurroundingsWithout, testing::ValuesIn(kOfManagers),
                         [](const auto& test) { return test.param.name; });

TEST_F(Surroundings, FileSystemsWithoutLocksAreNoObstacleToManagers) {
  const std::string socket = directory_ + "/manager.sock";
  ChildProcess::Options options;
  options.output = directory_ + "/manager.log";
  ChildProcess manager(
      refusing(ENOSYS, {SYS_flock}) +
          Words{built_program("sublet"), "resource-manager", "--listen", "unix:" + socket},
      options);
  const auto log = [&] {
    std::ifstream file(options.output);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_TRUE(eventually([&] { return log().find("listening at") != std::string::npos; }, 20s))
      << log();
  expect_contains(log(), "flock: Function not implemented");
  expect_contains(log(), "going on without the lock of directory " + directory_);
  ::kill(manager.pid(), SIGTERM);
  EXPECT_EQ(manager.wait(20s), 0);

  const Ended ended = run_private(refusing(ENOSYS, {SYS_flock}));
  EXPECT_EQ(ended.code, 1) << ended.output;
  expect_contains(ended.output, "flock: Function not implemented");
  expect_contains(ended.output, "set XDG_RUNTIME_DIR to a directory of a local file system");
}

TEST_F(Surroundings, CallsWithoutWhichNothingWorksAreNamed) {
  for (const auto& [error, call, text] : std::vector<std::tuple<int, long, std::string>>{
           {EPERM, SYS_sched_getaffinity, "sched_getaffinity"},
           {EPERM, 435, "clone3"},
           {EPERM, SYS_eventfd2, "eventfd"},
           {ENOSYS, SYS_signalfd4, "signalfd"},
           {EPERM, SYS_pipe2, "pipe"}}) {
    const Ended ended = run_private(refusing(error, {call}));
    EXPECT_EQ(ended.code, 1) << text << ": " << ended.output;
    expect_contains(ended.output, text);
  }
}

TEST_F(Surroundings, ManagerThatMayNotKillEndsAllTheSame) {
  TestManagers managers(
      {TestNode{.cores = 1, .oversubscribe = 1, .before = refusing(EPERM, {SYS_kill})}});
  expect_ok(run_with(managers, {}));
  managers.wait_for_free_cores(1);
  managers.node(0).signal(SIGTERM);
  EXPECT_TRUE(managers.node(0).wait(30s)) << "it has not ended";
}

TEST_F(Surroundings, RootOfAUserNamespaceIsAnOrdinaryUser) {
  if (run_program({"/usr/bin/unshare", "-r", "/bin/true"}, {}).code != 0) {
    GTEST_SKIP() << "there are no user namespaces here";
  }
  expect_ok(run_private({"/usr/bin/unshare", "-r"}));
}

TEST_F(Surroundings, RootWithoutTheRightToChangeUsersSaysSo) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has rights to give up";
  const Words without = {"/usr/bin/setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps",
                         "-setuid,-setgid"};
  if (run_program(without + Words{"/bin/true"}, {}).code != 0) {
    GTEST_SKIP() << "setpriv cannot give up rights here";
  }
  const Ended ended = run_private(without);
  EXPECT_EQ(ended.code, 1) << ended.output;
  expect_contains(ended.output, "CAP_SETUID");
}

TEST_F(Surroundings, WorkersThatCannotBePinnedAreToldOfInTheLog) {
  const TestManagers managers({TestNode{.before = refusing(EPERM, {SYS_sched_setaffinity})}});
  expect_ok(run_with(managers, {}));
  expect_contains(managers.output(), "sched_setaffinity: Operation not permitted");
  expect_contains(managers.output(), "going on with workers that are not pinned");
}

TEST_F(Surroundings, ClientWithoutThreadsSaysSo) {
#ifdef SYS_clone3
  const TestManagers managers;
  const Ended ended = run_with(managers, refusing(EAGAIN, {SYS_clone, SYS_clone3}));
  EXPECT_EQ(ended.code, 1) << ended.output;
  expect_contains(ended.output, "starting the helper thread");
#endif
}

// ---- libraries and functions that end executors ----

TEST_F(Surroundings, CallsGoOnAfterALibraryThatEndsItsExecutor) {
  const TestManagers managers;
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  auto next = lease.function(SURROUNDED_FUNCTIONS, "next").value_or_throw();
  for (const char* library : {END_EXIT_AT_ONCE, END_EXIT, END_ABORT, END_SIGNAL}) {
    for (int repeat = 0; repeat < 4; ++repeat) {
      const auto bad = lease.function(library, "never");
      ASSERT_FALSE(bad) << library;
      expect_contains(bad.error().what(), "the executor ended while it loaded the library");
      std::uint64_t out = 0;
      const std::uint64_t in = 41;
      const Reply reply = next.call(&in, sizeof(in), &out, sizeof(out));
      ASSERT_TRUE(reply.ok()) << library << " " << repeat << ": " << next.last_error();
      EXPECT_EQ(out, 42u);
    }
  }
}

TEST_F(Surroundings, CallsGoOnAfterAFunctionThatBecomesAnotherProgram) {
  const TestManagers managers;
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  auto next =
      lease.function<std::uint64_t(std::uint64_t)>(SURROUNDED_FUNCTIONS, "next").value_or_throw();
  auto become = lease.function(SURROUNDED_FUNCTIONS, "become_program").value_or_throw();
  const pid_t executor = managers.executors().at(0);
  const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, executor, 0)));
  ASSERT_TRUE(process.valid());
  const std::uint64_t in = 41;
  std::uint64_t out = 0;
  EXPECT_EQ(become.call(&in, sizeof(in), &out, sizeof(out)).status, Status::kLost);
  const auto result = next(41);
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(*result, 42u);
  pollfd ended{process.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 20'000), 1) << "process " << executor << " lives on";
  EXPECT_TRUE(eventually(
      [&] {
        return managers.output().find("a function has executed another program") !=
               std::string::npos;
      },
      20s));
}

TEST_F(Surroundings, WhatAFunctionHasLeftEndsWhenTheZygoteIsKilled) {
  const TestManagers managers;
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  auto leave = lease.function<std::uint64_t(std::uint64_t)>(SURROUNDED_FUNCTIONS, "leave_process")
                   .value_or_throw();
  const auto pid = static_cast<pid_t>(leave(0).value_or_throw());
  const base::Fd left(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  ASSERT_TRUE(left.valid()) << pid;
  const pid_t zygote = managers.zygote();
  ASSERT_GT(zygote, 0);
  ASSERT_EQ(::kill(zygote, SIGKILL), 0);
  pollfd ended{left.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 20'000), 1) << "process " << pid << " lives on";
  // The lease goes on with another zygote, and ends as any.
  const auto again = leave(0);
  EXPECT_TRUE(again || leave(0)) << again.error().what();
  lease.release();
  managers.wait_for_free_cores(4);
  EXPECT_TRUE(eventually([&] { return managers.executors().empty(); }, 20s));
}

struct Killing {
  int signal;
  char log[248];
};

TEST_F(Surroundings, IdempotentCallThatKillsItsExecutorsIsNotRunAgainAndAgain) {
  const TestManagers managers;
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  auto kill =
      lease.function(SURROUNDED_FUNCTIONS, "kill_executor", {.idempotent = true}).value_or_throw();
  ASSERT_EQ(::chmod(directory_.c_str(), 0777), 0);  // executors may be nobody's
  const auto runs = [&](int number) {
    Killing how{number, {}};
    const std::string log = directory_ + "/log" + std::to_string(number);
    log.copy(how.log, sizeof(how.log) - 1);
    std::uint64_t out = 0;
    const Reply reply = kill.call(&how, sizeof(how), &out, sizeof(out));
    std::error_code ignored;
    return std::pair(reply.status, std::filesystem::file_size(log, ignored));
  };
  for (const int number : {SIGUSR1, SIGXCPU, SIGRTMIN}) {
    const auto [status, count] = runs(number);
    EXPECT_EQ(status, Status::kCrashed) << number;
    EXPECT_EQ(count, 1u) << number;
  }
  for (const int number : {SIGKILL, 0}) {
    const auto [status, count] = runs(number);
    EXPECT_EQ(status, Status::kLost) << number;
    EXPECT_EQ(count, 2u) << number;
  }
}

// ---- what a crash leaves ----

TEST_F(Surroundings, CrashIsToldToTheCallerAndItsBacktraceToStandardError) {
  const Ended ended = run_program(client("crash"), {"SUBLET_MANAGER", "SUBLET_MANAGER_DIR"});
  EXPECT_EQ(ended.code, 1) << ended.output;
  expect_contains(ended.output, "call: crashed function 'crash' raised SIGSEGV");
  expect_contains(ended.output, ", in libsurrounded_functions.so+0x");
  expect_contains(ended.output, "; backtrace:");
  expect_contains(ended.output, "(crash+0x");
}

TEST_F(Surroundings, PrivateManagerLeavesCoreFilesNowhereButInADirectory) {
  const Ended refused =
      run_program(client(), {"SUBLET_MANAGER", "SUBLET_MANAGER_DIR",
                             "SUBLET_PRIVATE_MANAGER_CORE_DIRECTORY=" + directory_ + "/none"});
  EXPECT_EQ(refused.code, 1) << refused.output;
  expect_contains(refused.output, "/none', which is no directory");
}

// ---- what private managers read ----

TEST_F(Surroundings, PrivateManagerReadsItsOptionsFromTheEnvironment) {
  const auto run_with_variable = [this](const std::string& variable) {
    return run_program(client(), {"SUBLET_MANAGER", "SUBLET_MANAGER_DIR", variable});
  };
  expect_ok(run_with_variable("SUBLET_PRIVATE_MANAGER_STACK_SIZE=16MiB"));
  for (const auto& [variable, text] : std::vector<std::pair<std::string, std::string>>{
           {"SUBLET_PRIVATE_MANAGER_STACK_SIZE=1", "--stack-size is '1'"},
           {"SUBLET_PRIVATE_MANAGER_CORES=many", "--cores is 'many'"},
           {"SUBLET_PRIVATE_MANAGER_CORE=1", "sets SUBLET_PRIVATE_MANAGER_CORE, but"}}) {
    const Ended refused = run_with_variable(variable);
    EXPECT_EQ(refused.code, 1) << refused.output;
    expect_contains(refused.output, text);
  }
  // An executor manager's are not its own.
  expect_ok(run_with_variable("SUBLET_EXECUTOR_MANAGER_STACK_SIZE=1"));
}

TEST_F(Surroundings, PrivateManagerStartsUnderAnyUmask) {
  std::size_t inodes = 0;
  for (const char* umask : {"0777", "0", "0277"}) {
    const Ended ended =
        run_private({"/bin/bash", "-c", std::string("umask ") + umask + "; exec \"$@\"", "masked"});
    expect_ok(ended);
    const auto mode = [](const std::filesystem::path& path) {
      return std::filesystem::status(path).permissions() & std::filesystem::perms::mask;
    };
    EXPECT_EQ(mode(directory_ + "/sublet"), std::filesystem::perms::owner_all) << umask;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/sublet")) {
      ++inodes;
      EXPECT_EQ(mode(entry.path()) & std::filesystem::perms(077), std::filesystem::perms::none)
          << umask << ": " << entry.path();
    }
    std::filesystem::remove_all(directory_ + "/sublet");
  }
  EXPECT_EQ(inodes, 3u) << "the file of locks, once for each";
}

// ---- directories ----

TEST_F(Surroundings, ManagerListensAgainWhereItsDirectoryWasRemoved) {
  const TestManagers managers;
  std::filesystem::remove_all(managers.directory() + "/run");
  EXPECT_TRUE(managers.nodes().empty());
  managers.wait_for_nodes(1);
  expect_ok(run_with(managers, {}));
}

// ---- two jobs on one node ----

TEST_F(Surroundings, PrivateManagersOfTwoJobsPinWorkersToDifferentCores) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "there is one core";
  std::set<std::string> cpusets;
  std::vector<ChildProcess> jobs;
  std::vector<base::Fd> inputs;
  for (int job = 0; job < 2; ++job) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const base::Fd input(ends[0]);
    inputs.emplace_back(ends[1]);
    ChildProcess::Options options;
    options.environment = {"SUBLET_MANAGER", "SUBLET_MANAGER_DIR", "XDG_RUNTIME_DIR=" + directory_};
    options.output = directory_ + "/job" + std::to_string(job);
    options.fds = {{input.get(), STDIN_FILENO}};
    jobs.emplace_back(client() + Words{"hold"}, options);
    std::string text;
    const auto holding = [&] {
      std::ifstream file(options.output);
      text.assign(std::istreambuf_iterator<char>(file), {});
      return text.find("holding") != std::string::npos;
    };
    ASSERT_TRUE(eventually(holding, 30s)) << text;
    std::istringstream words(text.substr(text.find("cpuset ")));
    std::string cpuset;
    words >> cpuset >> cpuset;
    cpusets.insert(cpuset);
  }
  EXPECT_EQ(cpusets.size(), 2u);
  inputs.clear();
  for (ChildProcess& job : jobs) EXPECT_EQ(job.wait(30s), 0);
}

}  // namespace
}  // namespace sublet::test
