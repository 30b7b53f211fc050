// Executors in containers: real managers of root's, real Podman, leases of users with accounts.
#include "tenants_fixture.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

namespace sublet::test {
namespace {

constexpr const char* kOne = "localhost/sublet-test:one";
constexpr const char* kTwo = "localhost/sublet-test:two";

/// As an executor manager starts containers, where that matters to whether they start.
constexpr const char* kPodmanRun =
    "timeout 60 podman run --rm --cgroups=disabled --network=host --read-only "
    "--ulimit=nofile=1024:1024 --ulimit=nproc=1024:1024 ";

struct Said {
  int code = -1;
  std::string output;
};

Said shell(const std::string& command) {
  Said said;
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return said;
  std::array<char, 4096> part{};
  for (std::size_t size; (size = std::fread(part.data(), 1, part.size(), pipe)) > 0;) {
    said.output.append(part.data(), size);
  }
  said.code = ::pclose(pipe);
  return said;
}

class Containers : public Tenants {
 protected:
  /// Images of its own, in a place of its own. crun refuses a version 2 hierarchy beside version 1
  /// that has controllers, which some machines for tests have and no cluster: it is not there for
  /// this process and what it starts.
  static void SetUpTestSuite() {
    if (::geteuid() != 0) return;
    if (::unshare(CLONE_NEWNS) == 0) {
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
      ::umount2("/sys/fs/cgroup/unified", MNT_DETACH);
    }
    place_ = std::make_unique<TempDirectory>();
    const std::string place = place_->path();
    std::ofstream(place + "/storage.conf")
        << "[storage]\ndriver = \"overlay\"\ngraphroot = \"" << place << "/images\"\nrunroot = \""
        << place << "/run\"\n";
    ::setenv("CONTAINERS_STORAGE_CONF", (place + "/storage.conf").c_str(), 1);
    for (const auto& [image, word] : {std::pair{kOne, "1"}, {kTwo, "2"}}) {
      const Said made = shell(std::string(MAKE_IMAGE) + " " + image + " " + word);
      if (made.code != 0) why_not_ = "making an image: " + made.output;
    }
    if (!why_not_.empty()) return;
    const Said ran = shell(kPodmanRun + std::string(kOne) + " true");
    if (ran.code != 0) why_not_ = "podman run: " + ran.output;
  }
  static void TearDownTestSuite() {
    if (!place_) return;
    shell("podman rm --all --force; podman rmi --all --force");
    place_.reset();
  }

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root's managers start executors of other users";
    if (!why_not_.empty()) GTEST_SKIP() << "Podman does not run here: " << why_not_;
    make_key("operator", 0);
    make_key("games", kGames);
    make_key("man", kMan);
    environment_ = {std::string("CONTAINERS_STORAGE_CONF=") + place_->path() + "/storage.conf"};
    std::vector<std::string> options{"--isolation", "container"};
    options.insert(options.end(), more_.begin(), more_.end());
    start({"operator", "games", "man"}, options);
  }
  void TearDown() override {
    node_.reset();
    resource_manager_.reset();
    if (place_ && why_not_.empty()) expect_containers(0);
  }

  [[nodiscard]] static std::size_t containers() {
    const std::string list = shell("podman ps --all --quiet").output;
    return static_cast<std::size_t>(std::count(list.begin(), list.end(), '\n'));
  }
  void expect_containers(std::size_t count) const {
    EXPECT_TRUE(eventually([&] { return containers() == count; }, kStart))
        << shell("podman ps --all").output << log("node");
  }

  std::vector<std::string> more_{"--image", kOne, "--allow-image", "localhost/sublet-test:*"};

  static inline std::unique_ptr<TempDirectory> place_;
  static inline std::string why_not_;
};

TEST_F(Containers, RunFunctionsFromTheImageAsTheOwnerOfTheirLease) {
  auto games = tenant("games");
  EXPECT_EQ(games.ask("number_of_the_image"), 1u);
  EXPECT_EQ(games.ask("uid_here"), kGames);
  EXPECT_EQ(games.ask("gid_here"), 60u);
  EXPECT_EQ(games.ask("cores_here"), 1u) << "workers are pinned there too";
}

TEST_F(Containers, RefuseWhatFunctionsHaveNoBusinessWith) {
  auto games = tenant("games");
  for (const char* const function :
       {"traces", "reads_memory", "mounts", "makes_user_namespace", "clones_namespace", "loads_bpf",
        "uses_keys", "watches_kernel", "types_into_terminal"}) {
    EXPECT_EQ(games.ask(function, games.ask("pid_here")), std::uint64_t{EPERM}) << function;
  }
  // What starts executors there is the same user's, and has the manager's socket.
  EXPECT_NE(games.ask("opens_memory", 1), 0u);
  EXPECT_NE(games.ask("writes_to_the_root"), 0u);
}

TEST_F(Containers, HideUsersFromOneAnother) {
  auto games = tenant("games");
  auto man = tenant("man");
  EXPECT_EQ(games.ask("leaves_a_file"), 0u);
  EXPECT_EQ(games.ask("leaves_shared_memory"), 0u);
  EXPECT_EQ(games.ask("entries_of_tmp"), 1u);
  EXPECT_EQ(man.ask("entries_of_tmp"), 0u);
  EXPECT_EQ(man.ask("entries_of_shm"), 0u);
  EXPECT_FALSE(std::filesystem::exists("/tmp/sublet-test-left"));
  EXPECT_FALSE(std::filesystem::exists("/dev/shm/sublet-test-left"));
  // The zygote, this executor and those that are ready: nobody else's.
  EXPECT_LE(man.ask("processes_in_sight"), 6u);
  EXPECT_NE(man.ask("sees_process", static_cast<std::uint64_t>(::getpid())), 0u);
  expect_containers(2);
}

TEST_F(Containers, AreTheOnesThatALibraryNames) {
  auto session = session_of("games").value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  auto number =
      lease.function<std::uint64_t(std::uint64_t)>(NAMED_IMAGE, "number_of_image").value_or_throw();
  EXPECT_EQ(number(0).value_or_throw(), 2u);
  // Another image, in the same lease.
  const auto other = lease.function<std::uint64_t(std::uint64_t)>(BREAK_OUT, "pid_here");
  ASSERT_FALSE(other);
  expect_contains(other.error().what(), "open it in another lease");
}

TEST_F(Containers, ServeTheNextLeaseOfTheirUserAndImage) {
  const auto ready = [this] {
    const auto nodes = session_of("games").value_or_throw().nodes().value_or_throw();
    return nodes.at(0).warm_executors > 0;
  };
  EXPECT_EQ(tenant("games").ask("number_of_the_image"), 1u);
  EXPECT_TRUE(eventually(ready, kStart)) << "those of its container are counted";
  expect_containers(1);
  EXPECT_EQ(tenant("games").ask("number_of_the_image"), 1u);
  expect_containers(1);
  EXPECT_EQ(tenant("man").ask("number_of_the_image"), 1u);
  expect_containers(2);
}

TEST_F(Containers, GoOnWhenAnExecutorIsKilled) {
  auto games = tenant("games");
  auto bound =
      games.lease.function<std::uint64_t(std::uint64_t)>(BREAK_OUT, "dies").value_or_throw();
  EXPECT_FALSE(bound(0));
  EXPECT_EQ(games.ask("number_of_the_image"), 1u);
  expect_containers(1);
}

TEST_F(Containers, EndWithTheirManager) {
  auto games = tenant("games");
  EXPECT_EQ(games.ask("number_of_the_image"), 1u);
  expect_containers(1);
  ASSERT_EQ(::kill(node_->pid(), SIGKILL), 0);
  expect_containers(0);
}

TEST_F(Containers, EndWhenTheirNodeDrains) {
  auto games = tenant("games");
  EXPECT_EQ(games.ask("number_of_the_image"), 1u);
  ASSERT_EQ(::kill(node_->pid(), SIGTERM), 0);
  expect_containers(0);
}

/// Its own images, in its own home, and a range of users that this process alone sees it have.
TEST_F(Containers, RunForAManagerWithoutRootsRights) {
  const std::string home = directory_ + "/home";
  const std::string as_games =
      "cd / && HOME=" + home + " XDG_RUNTIME_DIR=" + home +
      " timeout 120 setpriv --reuid=games --regid=games --clear-groups --inh-caps=-all "
      "env -u CONTAINERS_STORAGE_CONF -u SUBLET_MANAGER -u SUBLET_KEY_FILE ";
  const Said prepared = shell("chmod 755 " + directory_ + " && mkdir -m 700 " + home +
                              " && chown games:games " + home);
  ASSERT_EQ(prepared.code, 0) << prepared.output;
  const std::string sublet = built_program("sublet");
  const Said without =
      shell(as_games + sublet + " executor-manager --isolation container --image localhost/none:1");
  const bool has_range = shell("grep -q '^games:' /etc/subuid").code == 0;
  if (!has_range) expect_contains(without.output, "/etc/subuid has no range for this user");

  std::ofstream(directory_ + "/range") << "games:200000:65536\n";
  for (const char* const file : {"/etc/subuid", "/etc/subgid"}) {
    ASSERT_EQ(::mount((directory_ + "/range").c_str(), file, nullptr, MS_BIND, nullptr), 0) << file;
  }
  const Said made = shell(as_games + MAKE_IMAGE + " " + kOne + " 1");
  const Said ran = shell(as_games + kPodmanRun + kOne + " true");
  if (made.code == 0 && ran.code == 0) {
    const Said measured = shell(as_games + sublet + " bench isolation --iterations 1 --warmup 0 " +
                                "--json - --image " + kOne);
    EXPECT_EQ(measured.code, 0) << measured.output;
    expect_contains(measured.output, "podman_ratio_p50");
  }
  shell(as_games + "podman system reset --force");
  for (const char* const file : {"/etc/subuid", "/etc/subgid"}) ::umount2(file, MNT_DETACH);
  if (made.code != 0 || ran.code != 0) {
    GTEST_SKIP() << "Podman does not run here without root's rights: " << made.output << ran.output;
  }
}

class NoneKept : public Containers {
 protected:
  NoneKept() { more_.insert(more_.end(), {"--warm-executors", "0"}); }
};

TEST_F(NoneKept, EndWithTheirLastLease) {
  EXPECT_EQ(tenant("games").ask("number_of_the_image"), 1u);
  expect_containers(0);
  EXPECT_EQ(tenant("games").ask("number_of_the_image"), 1u);
}

class OnlyNamed : public Containers {
 protected:
  OnlyNamed() { more_ = {"--allow-image", "localhost/sublet-other"}; }
};

TEST_F(OnlyNamed, SaysWhichImageIsMissingOrNotAllowed) {
  auto games = tenant("games");
  const auto unnamed = games.lease.function<std::uint64_t(std::uint64_t)>(BREAK_OUT, "pid_here");
  ASSERT_FALSE(unnamed);
  expect_contains(unnamed.error().what(), "names no image");
  const auto other =
      games.lease.function<std::uint64_t(std::uint64_t)>(NAMED_IMAGE, "number_of_image");
  ASSERT_FALSE(other);
  expect_contains(other.error().what(), "--allow-image");
}

TEST_F(OnlyNamed, TakesNoNonsense) {
  const auto refused = [this](std::vector<std::string> words) {
    words.insert(words.begin(), "executor-manager");
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, 2) << ended.output;
    return ended.output;
  };
  expect_contains(refused({"--isolation", "container"}), "needs an image");
  expect_contains(refused({"--isolation", "container", "--image", "--privileged"}), "no name of");
  expect_contains(refused({"--image", kOne}), "are for --isolation container");
  expect_contains(refused({"--isolation", "container", "--image", "localhost/none:1"}),
                  "podman pull localhost/none:1");
}

}  // namespace
}  // namespace sublet::test
