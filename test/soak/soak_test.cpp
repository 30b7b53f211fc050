// Clients that lease and call without end beside hostile connections to each socket, while every
// process of theirs is killed or stopped and continued, at random. No call may end with other data
// than its own or not at all, and when the clients have ended all cores are free and no process is
// left.
//
// SUBLET_SOAK_SECONDS: how long; 120 unless set. SUBLET_SOAK_SEED.

#include "report.hpp"
#include "support/crowd.hpp"
#include "support/managers.hpp"
#include <base/shared_memory.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::ChildProcess;
using test::Crowd;
using test::eventually;
using test::SoakReport;
using test::TestManagers;
using test::TestNode;

long from_environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::atol(text);
}

TestNode two_workers(const std::string& name) {
  TestNode node;
  node.name = name;
  node.oversubscribe = 2;
  return node;
}

class Soak : public ::testing::Test {
 protected:
  static constexpr std::size_t kClients = 3;
  static constexpr std::uint32_t kCores = 4;

  void SetUp() override {
    for (std::size_t i = 0; i < kClients; ++i) start_client(i);
  }

  void start_client(std::size_t i) {
    ChildProcess::Options options;
    options.environment = managers_.environment(i % 2 == 0 ? "n1" : "n2");
    if (i != 0) options.environment.emplace_back("SUBLET_TRANSPORT=tcp");
    options.output = managers_.directory() + "/client-" + std::to_string(i) + ".log";
    options.fds = {{memory_.fd(), SoakReport::kFd}};
    clients_[i] = std::make_unique<ChildProcess>(
        std::vector<std::string>{test::built_program("soak_client"), std::to_string(random_())},
        options);
  }

  /// Hostile neighbours of the clients, at each socket.
  std::vector<std::unique_ptr<Crowd>> crowds() const {
    std::vector<std::unique_ptr<Crowd>> all;
    const auto add = [&all](const std::string& address, std::vector<std::byte> recording) {
      constexpr Crowd::Size kSize{20, 10};
      all.push_back(std::make_unique<Crowd>(wire::Address::parse(address).value_or_throw(), kSize,
                                            std::move(recording)));
    };
    add(managers_.address(), test::record_calls_to_resource_manager());
    for (const NodeInfo& node : managers_.nodes()) {
      for (const std::string& address : node.addresses) {
        add(address, test::record_calls_to_executor_manager());
      }
    }
    return all;
  }

  /// Kills a process, and starts another in its place, or lets it stand still for a while.
  void disturb() {
    const std::size_t victim = random_() % 6;
    const bool kills = random_() % 2 == 0;
    ++(kills ? kills_ : stops_);
    if (victim == 0)
      return disturb(managers_.resource_manager(), kills,
                     [this] { managers_.start_resource_manager(); });
    if (victim <= 2)
      return disturb(managers_.node(victim - 1), kills,
                     [this, victim] { managers_.restart_node(victim - 1); });
    if (victim == 3) {
      const std::size_t i = random_() % kClients;
      return disturb(*clients_[i], kills, [this, i] { start_client(i); });
    }
    // An executor, or any process at all: zygotes among them.
    const auto candidates = victim == 4 ? managers_.executors() : managers_.processes();
    if (candidates.empty()) return;
    const pid_t pid = candidates[random_() % candidates.size()];
    if (is_known(pid)) return;  // has its own turn, in which it is replaced
    if (kills) {
      ::kill(pid, SIGKILL);
    } else {
      ::kill(pid, SIGSTOP);
      pause_a_while();
      ::kill(pid, SIGCONT);
    }
  }
  template <class Replace>
  void disturb(ChildProcess& process, bool kills, Replace&& replace) {
    if (kills) {
      process.signal(SIGKILL);
      EXPECT_TRUE(process.wait(20s));
      replace();
      return;
    }
    process.signal(SIGSTOP);
    pause_a_while();
    process.signal(SIGCONT);
  }
  void pause_a_while() { pause(random_() % 300); }
  static void pause(std::size_t ms) {
    ::poll(nullptr, 0, static_cast<int>(ms));  // tidy-allow: paces the events, nothing waits for it
  }
  bool is_known(pid_t pid) {
    bool known = pid == managers_.resource_manager().pid();
    for (std::size_t i = 0; i < 2; ++i) known |= pid == managers_.node(i).pid();
    for (const auto& client : clients_) known |= pid == client->pid();
    return known;
  }

  base::SharedMemory memory_ =
      base::SharedMemory::create("soak", sizeof(SoakReport), base::SharedMemory::Pages::kSmall)
          .value_or_throw();
  SoakReport& report_ = *new (memory_.data()) SoakReport;
  std::mt19937 random_{static_cast<unsigned>(from_environment("SUBLET_SOAK_SEED", 1))};
  TestManagers managers_{{two_workers("n1"), two_workers("n2")}};
  std::array<std::unique_ptr<ChildProcess>, kClients> clients_;
  unsigned kills_ = 0;
  unsigned stops_ = 0;
};

TEST_F(Soak, NothingIsWrongEndlessOrLeftBehindWhateverDies) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(from_environment("SUBLET_SOAK_SECONDS", 120));
  ASSERT_TRUE(eventually([&] { return report_.calls > 100; }));
  auto hostile = crowds();
  while (std::chrono::steady_clock::now() < end) {
    disturb();
    pause(random_() % 100);
  }
  EXPECT_TRUE(eventually([&, before = report_.calls.load()] { return report_.calls > before; }))
      << "no call ends well any more";
  hostile.clear();
  report_.stop = true;
  for (const auto& client : clients_) {
    const auto status = client->wait(90s);
    EXPECT_EQ(status, 0) << "a client does not end";
  }
  EXPECT_EQ(report_.wrong, 0u) << report_.first_wrong.data();
  EXPECT_EQ(report_.endless, 0u);
  managers_.wait_for_nodes(2);
  managers_.wait_for_free_cores(kCores);
  EXPECT_TRUE(eventually([&] { return managers_.executors().empty(); }));
  std::cout << kills_ << " kills, " << stops_ << " stops, " << report_.calls << " calls, and "
            << report_.failed << " that failed\n";
}

}  // namespace
}  // namespace sublet
