// What `sublet doctor` finds, each made to happen in a real environment.

#include "command_fixture.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace sublet::test {
namespace {

class Doctor : public CommandTest {
 protected:
  using Json = nlohmann::json;

  /// What it says in JSON; checks that the exit code says the worst of it.
  Json examine(const std::vector<std::string>& before = {},
               std::vector<std::string> environment = {}) {
    std::vector<std::string> words = before;
    words.insert(words.end(), {built_program("sublet"), "doctor", "--output", "json"});
    const Ended ended = run_program(words, std::move(environment));
    const std::size_t begin = ended.output.find("{\n");
    const std::string text = begin == std::string::npos ? "" : ended.output.substr(begin);
    Json all = Json::parse(text, nullptr, false);
    EXPECT_TRUE(all.is_object()) << ended.output;
    if (!all.is_object()) return {};
    int worst = 0;
    for (const Json& each : all["findings"]) {
      const std::string grade = each["grade"];
      worst = std::max(worst, grade == "fault" ? 7 : grade == "note" ? 6 : 0);
      EXPECT_EQ(each["good"], grade == "ok");
      for (const char* key : {"what", "found", "wanted", "advice", "text"}) {
        EXPECT_TRUE(each.contains(key) && each[key].is_string()) << key;
      }
    }
    EXPECT_EQ(ended.code, worst) << ended.output;
    return all["findings"];
  }

  /// In a shell, after `commands`.
  Json examine_after(const std::string& commands, std::vector<std::string> environment = {}) {
    return examine({"/bin/sh", "-c", commands + "; exec \"$@\"", "sh"}, std::move(environment));
  }

  /// The same in a mount namespace of its own, as root.
  Json examine_apart(const std::string& flags, const std::string& commands) {
    return examine({"/bin/sh", "-c",
                    "exec unshare " + flags + " sh -c '" + commands + " && exec \"$@\"' sh \"$@\"",
                    "sh"});
  }

  static Json find(const Json& findings, const std::string& what) {
    for (const Json& each : findings) {
      if (each["what"] == what) return each;
    }
    ADD_FAILURE() << "no finding '" << what << "' in " << findings.dump(1);
    return {{"grade", ""}, {"found", ""}, {"wanted", ""}, {"advice", ""}};
  }

  static void expect(const Json& findings, const std::string& what, const std::string& grade,
                     const std::string& found = {}, const std::string& advice = {}) {
    const Json finding = find(findings, what);
    EXPECT_EQ(finding["grade"], grade) << finding.dump(1);
    EXPECT_NE(finding["found"].get<std::string>().find(found), std::string::npos)
        << finding.dump(1);
    EXPECT_NE(finding["advice"].get<std::string>().find(advice), std::string::npos)
        << finding.dump(1);
  }

  /// True where mounts can be made in a namespace of one's own.
  bool can_unshare(const std::string& flags) {
    return run_program({"/bin/sh", "-c", "unshare " + flags + " true"}).code == 0;
  }
};

TEST_F(Doctor, NamesEachLimitThatIsTooSmall) {
  // Soft limits that this process may set; dash counts file blocks of 512 bytes.
  const Json found = examine_after(
      "ulimit -S -n 256; "
      "ulimit -S -f 200000; ulimit -S -v 3000000; ulimit -S -d 1000000");
  expect(found, "open files", "note", "256", "ulimit -n 1024");
  expect(found, "file size", "note", "100000 KiB", "ulimit -f unlimited");
  expect(found, "address space", "note", "", "ulimit -v unlimited");
  expect(found, "data size", "ok");
  const Json smaller = examine_after("ulimit -S -v 900000");
  expect(smaller, "address space", "fault", "900000 KiB");
}

TEST_F(Doctor, NamesTheLimitOfProcesses) {
  const Ended set = run_program({"/bin/bash", "-c", "ulimit -S -u 500"});
  if (set.code != 0) GTEST_SKIP() << "this shell cannot set ulimit -u: " << set.output;
  const Json found = examine({"/bin/bash", "-c", "ulimit -S -u 500; exec \"$@\"", "sh"});
  expect(found, "processes and threads", "note", "500 (ulimit -u)", "nproc");
}

TEST_F(Doctor, KnowsWhetherSharedMemoryHasHugePages) {
  if (::geteuid() != 0 || !can_unshare("-m")) GTEST_SKIP() << "needs root and mount namespaces";
  const std::string file = directory_ + "/shmem_enabled";
  for (const auto& [chosen, grade] :
       {std::pair<std::string, std::string>{"never", "note"}, {"advise", "ok"}}) {
    std::ofstream(file) << "always [" + chosen + "] force\n";
    const Json found = examine_apart(
        "-m", "mount --bind " + file + " /sys/kernel/mm/transparent_hugepage/shmem_enabled");
    expect(found, "huge pages", grade, "'" + chosen + "'", chosen == "never" ? "echo advise" : "");
  }
}

TEST_F(Doctor, TriesWhetherMemoryFilesCanBeExecuted) {
  expect(examine(), "executable memory files", "ok");
  const std::string refuse = "echo 2 > /proc/sys/vm/memfd_noexec";
  const Ended can =
      run_program({"/bin/sh", "-c", "unshare -p -f --mount-proc sh -c '" + refuse + "'"});
  if (can.code != 0) GTEST_SKIP() << "vm.memfd_noexec cannot be set here: " << can.output;
  const Json found = examine_apart("-p -f --mount-proc", refuse);
  expect(found, "executable memory files", "fault", "this system forbids executable ones",
         "sysctl vm.memfd_noexec=1");
}

TEST_F(Doctor, SaysWhatAFilterRefuses) {
  const std::string number = std::to_string(SYS_pidfd_open);
  const Json found = examine({built_program("refuse_calls"), std::to_string(EPERM), number, "--"});
  expect(found, "pidfd", "note", "pidfd_open", "container's runtime");
  expect(examine(), "pidfd", "ok");
}

TEST_F(Doctor, SaysThatNoMemoryCgroupCanBeMade) {
  if (::geteuid() != 0 || !can_unshare("-m")) GTEST_SKIP() << "needs root and mount namespaces";
  const Json found = examine_apart("-m", "umount -a -t cgroup,cgroup2 2>/dev/null; true");
  expect(found, "memory cgroup", "note", "", "Delegate=yes");
}

TEST_F(Doctor, LooksAtTheRunTimeDirectory) {
  expect(examine(), "run-time directory", "ok", "made when it is needed");
  const std::string path = directory_ + "/sublet";
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  expect(examine(), "run-time directory", "ok", path);
  ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  expect(examine(), "run-time directory", "fault", "mode 0755", "XDG_RUNTIME_DIR");
  const Json named = examine_after("export XDG_RUNTIME_DIR=/nowhere");
  EXPECT_NE(find(named, "run-time directory")["grade"], "ok");
}

TEST_F(Doctor, LooksAtTheSpaceInTheRunTimeDirectory) {
  if (::geteuid() != 0 || !can_unshare("-m")) GTEST_SKIP() << "needs root and mount namespaces";
  const Json found = examine_apart("-m", "mount -t tmpfs -o size=64k,mode=0700 none " + directory_);
  expect(found, "space in it", "fault", "", "remove what fills");
}

/// With a munged of its own.
class DoctorWithMunge : public Doctor {
 protected:
  void SetUp() override {
    if (run_program({"/bin/sh", "-c", "command -v munged"}).code != 0) {
      GTEST_SKIP() << "munged is not installed";
    }
    const std::string& at = directory_;
    const Ended ended =
        run_program({"/bin/sh", "-c",
                     "set -e; chmod 0711 " + at + "; mkdir -m 0700 " + at + "/m; mkdir -m 0755 " +
                         at + "/s; head -c 1024 /dev/urandom >" + at + "/m/key; chmod 400 " + at +
                         "/m/key; exec munged --force --key-file=" + at + "/m/key --socket=" + at +
                         "/s/socket --pid-file=" + at + "/m/pid --log-file=" + at +
                         "/m/log --seed-file=" + at + "/m/seed --num-threads=2"});
    if (ended.code != 0) GTEST_SKIP() << "munged does not start here: " << ended.output;
    std::ifstream(at + "/m/pid") >> pid_;
    ASSERT_GT(pid_, 0);
  }
  void TearDown() override { stop(SIGTERM); }
  void stop(int signal) {
    if (pid_ > 0) ::kill(pid_, signal);
    EXPECT_TRUE(pid_ <= 0 || eventually([this] { return ::kill(pid_, 0) != 0; }));
    pid_ = 0;
  }
  std::vector<std::string> socket() { return {"SUBLET_MUNGE_SOCKET=" + directory_ + "/s/socket"}; }
  pid_t pid_ = 0;
};

TEST_F(DoctorWithMunge, MakesAndReadsACredential) {
  expect(examine({}, socket()), "MUNGE", "ok", "credential of uid " + std::to_string(::geteuid()));
  // Killed, it leaves its socket.
  stop(SIGKILL);
  expect(examine({}, socket()), "MUNGE", "fault", "does munged run?", "systemctl status munge");
}

TEST_F(Doctor, MungeNeedNotBeThere) {
  expect(examine({}, {"SUBLET_MUNGE_SOCKET=" + directory_ + "/none"}), "MUNGE", "absent",
         directory_ + "/none is not there");
}

TEST_F(Doctor, AsksSlurmWhenItIsThere) {
  expect(examine({}, {"PATH=/nowhere"}), "Slurm", "absent", "no scontrol in PATH");
  if (run_program({"/bin/sh", "-c", "command -v scontrol"}).code != 0) {
    GTEST_SKIP() << "scontrol is not installed";
  }
  expect(examine({}, {"SLURM_CONF=" + directory_ + "/none"}), "Slurm", "note", "", "scontrol ping");
}

TEST_F(Doctor, ShowsTheVnisOfASlingshotJob) {
  expect(examine({}, {"SLINGSHOT_VNIS=1024,1025"}), "SLINGSHOT_VNIS", "ok", "1024,1025");
}

TEST_F(Doctor, AManagerThatIsNamedMustAnswer) {
  expect(examine(), "resource manager", "absent", directory_);
  expect(examine({}, {"SUBLET_MANAGER=unix:" + directory_ + "/none"}), "resource manager", "fault",
         directory_ + "/none", "SUBLET_MANAGER");
}

}  // namespace
}  // namespace sublet::test
