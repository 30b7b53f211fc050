// What functions of a cluster's users find of the manager that runs them, and of one another.
#include "support/eventually.hpp"
#include "support/managers.hpp"
#include <sublet/session.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

struct Look {
  char path[256];
};
struct Seen {
  std::int64_t result;
  char text[4000];
};
struct Me {
  std::uint64_t pid, uid, umask;
};

/// A lease with what its functions see.
class Tenant {
 public:
  explicit Tenant(const TestManagers& managers)
      : session_(Session::open(managers.session_options()).value_or_throw()),
        lease_(session_.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw()) {}

  Seen look(const std::string& path) {
    Look in{};
    path.copy(in.path, sizeof(in.path) - 1);
    Seen out{};
    call("look", in, out);
    return out;
  }
  std::string text(const std::string& path) {
    const Seen seen = look(path);
    EXPECT_GE(seen.result, 0) << path;
    return {seen.text, static_cast<std::size_t>(std::max<std::int64_t>(seen.result, 0))};
  }
  Me who() {
    Me me{};
    call("who", std::uint64_t{0}, me);
    return me;
  }
  std::uint64_t ask(const char* function, std::uint64_t in) {
    std::uint64_t out = 0;
    call(function, in, out);
    return out;
  }

 private:
  template <class In, class Out>
  void call(const char* name, const In& in, Out& out) {
    auto function = lease_.function(SURROUNDED_FUNCTIONS, name).value_or_throw();
    const Reply reply = function.call(&in, sizeof(in), &out, sizeof(out));
    ASSERT_TRUE(reply.ok()) << name << ": " << function.last_error();
  }

  Session session_;
  Lease lease_;
};

TEST(ManagerApart, GivesFunctionsNothingOfItsEnvironmentDirectoryAndUmask) {
  ::setenv("SUBLET_TEST_SECRET", "of the manager", 1);
  const mode_t before = ::umask(0027);
  const TestManagers managers;
  ::umask(before);
  Tenant tenant(managers);
  // The block that the kernel keeps, too: not only what getenv finds.
  std::ifstream file("/proc/" + std::to_string(tenant.who().pid) + "/environ");
  const std::string environment(std::istreambuf_iterator<char>(file), {});
  if (environment.empty()) GTEST_SKIP() << "only root looks into an executor";
  EXPECT_EQ(environment.find("SUBLET_TEST_SECRET"), std::string::npos) << environment;
  EXPECT_EQ(environment.find("SUBLET_KEY_FILE"), std::string::npos) << environment;
  EXPECT_NE(environment.find("PATH="), std::string::npos);
  EXPECT_EQ(tenant.text("/proc/self/cwd"), "/");
  EXPECT_EQ(tenant.who().umask, 0022u);
  ::unsetenv("SUBLET_TEST_SECRET");
}

TEST(ManagerApart, KeepsItsLogToItself) {
  const TestManagers managers;
  Tenant tenant(managers);
  EXPECT_EQ(tenant.text("/proc/self/fd/2").find("pipe:"), 0u);
  EXPECT_EQ(tenant.ask("forge", 0), std::uint64_t{EINVAL});
  const auto written = [&managers] { return managers.output(); };
  ASSERT_TRUE(eventually(
      [&] {
        return written().find("executor: 2026-01-01 error: all is lost?[2J") != std::string::npos;
      },
      20s))
      << written();
  EXPECT_EQ(written().find("\n2026-01-01 error"), std::string::npos);
  EXPECT_NE(written().find("is claimed by"), std::string::npos) << "the log was emptied";
}

TEST(ManagerApart, KeepsExecutorsOfOneUserFromReadingOneAnother) {
  if (::geteuid() != 0) GTEST_SKIP() << "executors run as this user, who may trace the manager too";
  const TestManagers managers;
  Tenant one(managers);
  Tenant other(managers);
  const Me target = other.who();
  ASSERT_EQ(one.who().uid, target.uid);
  const std::string process = "/proc/" + std::to_string(target.pid) + "/";
  // What it can look at of its own, others may not.
  for (const char* file : {"maps", "fd/0", "cwd"}) {
    EXPECT_GT(other.look(std::string("/proc/self/") + file).result, 0) << file;
  }
  for (const char* file : {"environ", "mem", "maps", "fd/0", "cwd"}) {
    EXPECT_EQ(one.look(process + file).result, -EACCES) << file;
  }
}

TEST(ManagerApart, GivesEachLeaseAUserOfItsOwn) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root runs executors as other users";
  const TestManagers managers({TestNode{.more = {"--executor-users", "61000-61001"}}});
  Tenant one(managers);
  {
    Tenant other(managers);
    const Me first = one.who();
    const Me second = other.who();
    EXPECT_NE(first.uid, second.uid);
    for (const Me& me : {first, second}) {
      EXPECT_GE(me.uid, 61000u);
      EXPECT_LE(me.uid, 61001u);
    }
    EXPECT_EQ(one.ask("send_signal", second.pid), std::uint64_t{EPERM});
    // There are two users, and so two leases at a time.
    auto session = Session::open(managers.session_options()).value_or_throw();
    const auto third = session.lease({.cores = 1, .arena_bytes = 1u << 20});
    ASSERT_FALSE(third);
    EXPECT_NE(std::string(third.error().what()).find("--executor-users"), std::string::npos)
        << third.error().what();
  }
  managers.wait_for_free_cores(3);
  Tenant again(managers);
  EXPECT_NE(again.who().uid, one.who().uid);
}

}  // namespace
}  // namespace sublet::test
