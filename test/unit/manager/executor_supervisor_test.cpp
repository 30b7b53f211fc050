// The supervisor of a grant's executors, with a real zygote and real executors.

#include "supervised_node.hpp"
#include "support/eventually.hpp"

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <string>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

class ExecutorSupervisorTest : public testing::Test {
 protected:
  ExecutorSupervisorTest()
      : supervisor_(node_.services(), terms_, {SupervisedNode::cpusets(), {}},
                    {[this](const std::string& why) { given_up_.push_back(why); },
                     [this] {
                       ++gone_;
                       is_gone_.fulfiller->fulfill();
                     }}) {}
  ~ExecutorSupervisorTest() noexcept override = default;

  /// Until the executor after `generation` is up.
  void await_executor(std::uint32_t generation) {
    const auto up = node_.wait(supervisor_.replacement(generation));
    ASSERT_TRUE(up) << up.error().what();
  }
  /// The first executor is up, with a function of the gated library.
  void start_with_gated_function() {
    ASSERT_TRUE(supervisor_.start());
    await_executor(0);
    const auto request = node_.gated_function(0);
    node_.let_on(1);
    const auto opened = node_.wait(supervisor_.open(request)).result;
    ASSERT_TRUE(opened) << opened.error().what();
    node_.wait_until_loading();
  }
  /// Kills the executor of `generation`, and waits until the supervisor knows.
  void kill(std::uint32_t generation) {
    node_.kill_executor();
    EXPECT_NE(node_.wait(supervisor_.fate(generation)).text.find("signal 9"), std::string::npos);
  }
  std::uint32_t generation() const {
    capnp::MallocMessageBuilder message;
    auto endpoint = message.initRoot<wire::Endpoint>();
    supervisor_.write_endpoint(endpoint);
    return endpoint.getGeneration();
  }

  SupervisedNode node_;
  GrantTerms terms_ = SupervisedNode::terms();
  std::vector<std::string> given_up_;
  int gone_ = 0;
  kj::PromiseFulfillerPair<void> is_gone_ = kj::newPromiseAndFulfiller<void>();
  ExecutorSupervisor supervisor_;
};

TEST_F(ExecutorSupervisorTest, OpensFunctionsAgainInAnExecutorThatReplacesOne) {
  start_with_gated_function();
  node_.let_on(1);
  kill(1);
  await_executor(1);
  node_.wait_until_loading();
  EXPECT_EQ(generation(), 2u);
  const auto taken = node_.wait(supervisor_.open(node_.gated_function(0))).result;
  ASSERT_FALSE(taken);
  EXPECT_NE(std::string(taken.error().what()).find("taken already"), std::string::npos);
}

TEST_F(ExecutorSupervisorTest, AnswersWithNoExecutorThatIsStillComingUp) {
  start_with_gated_function();
  node_.let_on(1);
  kill(1);
  await_executor(1);
  node_.wait_until_loading();
  // The third waits in its library; a client that has only seen the first asks now.
  kill(2);
  node_.wait_until_loading();
  auto answer = supervisor_.replacement(1);
  EXPECT_FALSE(answer.poll(node_.scope()));
  node_.let_on(1);
  EXPECT_TRUE(node_.wait(kj::mv(answer)));
  EXPECT_EQ(generation(), 3u);
}

TEST_F(ExecutorSupervisorTest, GivesUpWhenExecutorsKeepEndingBeforeTheyAreUp) {
  start_with_gated_function();
  auto answer = supervisor_.replacement(1);
  for (std::uint32_t ended = 1; ended <= 4; ++ended) {
    EXPECT_TRUE(given_up_.empty());
    kill(ended);
    if (ended < 4) node_.wait_until_loading();
  }
  ASSERT_EQ(given_up_.size(), 1u);
  EXPECT_NE(given_up_[0].find("keep ending"), std::string::npos) << given_up_[0];
  EXPECT_EQ(gone_, 1);
  const auto none = node_.wait(kj::mv(answer));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::kDisconnected);
  EXPECT_TRUE(node_.executors().empty());
}

TEST_F(ExecutorSupervisorTest, ReplacesNoExecutorWhileItDrains) {
  ASSERT_TRUE(supervisor_.start());
  await_executor(0);
  supervisor_.drain("the node leaves");
  EXPECT_EQ(gone_, 0);
  kill(1);
  EXPECT_EQ(given_up_, std::vector<std::string>{"the node leaves"});
  EXPECT_EQ(gone_, 1);
  EXPECT_TRUE(node_.executors().empty());
}

TEST_F(ExecutorSupervisorTest, EndsAnIdleExecutorThatDrains) {
  ASSERT_TRUE(supervisor_.start());
  await_executor(0);
  supervisor_.drain("the node leaves");
  auto fate = supervisor_.fate(1);
  supervisor_.let_end_when_idle();
  const ExecutorFate ended = node_.wait(kj::mv(fate));
  EXPECT_NE(ended.text.find("status 0"), std::string::npos);
  EXPECT_EQ(ended.last_started, std::vector<std::uint32_t>{0});
  EXPECT_EQ(gone_, 1);
}

/// A function may stop its own process: its call would never end.
TEST_F(ExecutorSupervisorTest, ContinuesAnExecutorThatStaysStopped) {
  ASSERT_TRUE(supervisor_.start());
  await_executor(0);
  const pid_t executor = node_.executors().at(0);
  const auto is_stopped = [&] {
    std::ifstream file("/proc/" + std::to_string(executor) + "/stat");
    std::string number;
    std::string name;
    std::string state;
    file >> number >> name >> state;
    return state == "T";
  };
  ASSERT_EQ(::kill(executor, SIGSTOP), 0);
  ASSERT_TRUE(test::eventually(is_stopped));
  node_.advance(10s);
  node_.turn();
  node_.advance(10s);
  node_.turn();
  EXPECT_TRUE(is_stopped()) << "somebody may have stopped it for a while";
  node_.advance(10s);
  node_.turn();
  EXPECT_TRUE(test::eventually([&] { return !is_stopped(); }));
}

TEST_F(ExecutorSupervisorTest, StopsOnceAndTellsWhoWaits) {
  ASSERT_TRUE(supervisor_.start());
  await_executor(0);
  auto replacement = supervisor_.replacement(1);
  auto fate = supervisor_.fate(1);
  const std::vector<pid_t> executors = node_.executors();
  ASSERT_EQ(executors.size(), 1u);
  ASSERT_EQ(::kill(executors[0], SIGSTOP), 0);  // it ends no earlier than this test lets it
  supervisor_.stop("its time is over");
  supervisor_.stop("said twice");
  const auto none = node_.wait(kj::mv(replacement));
  ASSERT_FALSE(none);
  EXPECT_STREQ(none.error().what(), "the lease has ended: its time is over");
  EXPECT_FALSE(fate.poll(node_.scope())) << "its executor still runs";
  ASSERT_EQ(::kill(executors[0], SIGCONT), 0);
  EXPECT_EQ(node_.wait(kj::mv(fate)).text, "it exited with status 0");
  node_.wait(kj::mv(is_gone_.promise));
  EXPECT_EQ(gone_, 1);
  EXPECT_EQ(node_.wait(supervisor_.fate(2)).text, "the lease has ended: its time is over");
  EXPECT_TRUE(given_up_.empty());
  EXPECT_FALSE(node_.wait(supervisor_.open(node_.gated_function(0))).result);
}

}  // namespace
}  // namespace sublet::manager
