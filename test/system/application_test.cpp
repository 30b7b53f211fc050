// What an application has of its threads, its configuration and its lease's memory.

#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <pthread.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>

namespace sublet {
namespace {

using test::ChildProcess;
using test::TestManagers;
using test::TestNode;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

LeaseRequest small_lease(std::uint64_t memory_bytes = 64 * kMiB) {
  LeaseRequest request;
  request.memory_bytes = memory_bytes;
  request.arena_bytes = 16 * kMiB;
  return request;
}

class Application : public testing::TestWithParam<const char*> {};

TEST_P(Application, OutlivesAThreadThatIsCancelledInACall) {
  const TestManagers managers;
  auto options = managers.session_options();
  options.transport = GetParam();
  auto session = Session::open(options).value_or_throw();
  auto lease = session.lease(small_lease()).value_or_throw();
  auto spin =
      lease.function<std::uint32_t(std::uint32_t)>(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  std::promise<pthread_t> started;
  std::uint32_t done = 0;
  std::thread caller([&] {
    started.set_value(::pthread_self());
    for (int i = 0; i < 3; ++i) done += spin(100).value_or_throw();
    ::pthread_testcancel();
    ADD_FAILURE() << "the thread was not cancelled";
  });
  EXPECT_EQ(::pthread_cancel(started.get_future().get()), 0);
  caller.join();
  EXPECT_EQ(done, 300u) << "a call has an end, also on a thread that is to end";
  EXPECT_EQ(spin(1).value_or_throw(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Transports, Application, testing::Values("shm", "tcp"),
                         [](const auto& param) { return std::string(param.param); });

TEST(Library, TravelsUpToItsLimit) {
  const TestManagers managers;
  const std::string file = managers.directory() + "/large.so";
  std::filesystem::copy_file(CLIENT_FUNCTIONS, file);
  std::filesystem::resize_file(file, 255 * kMiB);  // bytes behind the end are nothing to a linker
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease(small_lease(512 * kMiB)).value_or_throw();
  auto spin = lease.function<std::uint32_t(std::uint32_t)>(file, "spin_ms").value_or_throw();
  EXPECT_EQ(spin(1).value_or_throw(), 1u);

  std::filesystem::resize_file(file, 257 * kMiB);
  const auto refused = lease.function<std::uint32_t(std::uint32_t)>(file, "spin_ms");
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("268435456 are allowed"), std::string::npos);
}

TEST(Memory, IsLimitedWhereThereAreNoCgroups) {
  const TestManagers managers({TestNode{.more = {"--cgroup", "off"}}});
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease(small_lease()).value_or_throw();
  auto allocate = lease.function<std::uint64_t(std::uint64_t)>(CLIENT_FUNCTIONS, "allocate_shared")
                      .value_or_throw();
  const auto refused = allocate(400 * kMiB);
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("memory limit"), std::string::npos)
      << refused.error().what();
}

TEST(Memory, IsLimitedForWhoAskedForNone) {
  const TestManagers managers({TestNode{.more = {"--cgroup", "off"}}});
  auto session = Session::open(managers.session_options()).value_or_throw();
  auto lease = session.lease(small_lease(0)).value_or_throw();
  auto allocate =
      lease.function<std::uint64_t(std::uint64_t)>(CLIENT_FUNCTIONS, "allocate").value_or_throw();
  EXPECT_EQ(allocate(kMiB).value_or_throw(), kMiB);
  const auto refused = allocate(200 * kMiB);
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string(refused.error().what()).find("bad_alloc"), std::string::npos)
      << refused.error().what();
}

TEST(Configuration, IsTheSameForCommandsAndApplications) {
  const TestManagers managers;
  const std::string file = managers.directory() + "/sublet.conf";
  std::ofstream(file) << "manager = " << managers.address() << "\n";
  for (const char* command : {"nodes", "leases", "doctor"}) {
    const std::string output = managers.directory() + "/" + command;
    ChildProcess child({test::built_program("sublet"), command},
                       {.environment = {"SUBLET_CONFIG=" + file, "SUBLET_MANAGER",
                                        "XDG_RUNTIME_DIR=" + managers.directory() + "/nothing"},
                        .output = output,
                        .fds = {}});
    const auto status = child.wait(std::chrono::seconds(20));
    std::ifstream said(output);
    const std::string text(std::istreambuf_iterator<char>(said), {});
    if (command == std::string("doctor")) {  // whose exit code is about more
      EXPECT_NE(text.find("ok    resource manager: answers at"), std::string::npos) << text;
    } else {
      EXPECT_EQ(status, 0) << command << text;
    }
  }
}

TEST(Configuration, NamesAnExecutorManagerThatIsTakenForTheResourceManager) {
  const TestManagers managers({TestNode{}}, true);
  auto options = managers.session_options();
  auto session = Session::open(options).value_or_throw();
  auto grants = session.request(small_lease()).value_or_throw();
  options.manager = grants.front().addresses.front();
  const auto wrong = Session::open(options);
  ASSERT_FALSE(wrong);
  EXPECT_NE(std::string(wrong.error().what()).find("an executor manager answers there"),
            std::string::npos)
      << wrong.error().what();
}

}  // namespace
}  // namespace sublet
