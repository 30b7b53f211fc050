// Which containers are kept, and for how long. Their zygotes are real ones; that Podman starts
// them is for test/system/container_test.cpp.

#include <executor_manager/container_pool.hpp>
#include <executor_manager/zygote_process.hpp>

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

namespace sublet::manager {
namespace {

constexpr kj::Duration kLimit = 20 * kj::SECONDS;

class ContainerPoolTest : public testing::Test {
 protected:
  ~ContainerPoolTest() noexcept override {}
  ContainerPool::Node node() {
    return {[this](const ContainerPlace& place) {
              started_.push_back(place);
              return std::vector<std::string>{find_executor().value_or_throw(), "--zygote",
                                              std::to_string(kZygoteFd), "--shared", "--container"};
            },
            [this] { return short_of_memory_; }, 1};
  }

  /// Runs the loop until `what` holds; false when it does not in time.
  template <class What>
  bool until(What what) {
    kj::Timer& timer = io_.provider->getTimer();
    const auto end = timer.now() + kLimit;
    while (!what()) {
      if (timer.now() > end) return false;
      timer.afterDelay(5 * kj::MILLISECONDS).wait(io_.waitScope);
    }
    return true;
  }
  void use_once(const ContainerPlace& place) {
    auto use = pool_->use(place).value_or_throw();
    use->zygote().ready().wait(io_.waitScope);
    EXPECT_FALSE(use->zygote().over());
  }

  bool short_of_memory_ = false;
  std::vector<ContainerPlace> started_;
  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  const std::unique_ptr<ContainerPool> pool_ =
      std::make_unique<ContainerPool>(io_.unixEventPort, io_.provider->getTimer(), node());
  const ContainerPlace games_{"image:1", 5, 60};
  const ContainerPlace man_{"image:1", 6, 12};
};

TEST_F(ContainerPoolTest, KeepsOneForEachUserAndImage) {
  pool_->limit({.most_idle = 4, .most_spares = 0});
  use_once(games_);
  use_once(games_);
  EXPECT_EQ(started_.size(), 1u) << "it was kept";
  use_once(man_);
  use_once({"image:2", 5, 60});
  EXPECT_EQ(started_.size(), 3u);
}

TEST_F(ContainerPoolTest, KeepsAsManyAsMayBeTheLastOnesUsed) {
  pool_->limit({.most_idle = 1, .most_spares = 0});
  use_once(games_);
  use_once(man_);  // takes its place
  use_once(man_);
  EXPECT_EQ(started_.size(), 2u);
  use_once(games_);
  EXPECT_EQ(started_.size(), 3u);
  pool_->limit({.most_idle = 0, .most_spares = 0});
  use_once(games_);  // the one that is there
  EXPECT_EQ(started_.size(), 3u);
  use_once(games_);
  EXPECT_EQ(started_.size(), 4u);
}

TEST_F(ContainerPoolTest, EmptiesItselfWhenMemoryIsShort) {
  pool_->limit({.most_idle = 4, .most_spares = 1});
  std::uint32_t spares = 0;
  pool_->on_spares([&spares](std::uint32_t count) { spares = count; });
  auto used = pool_->use(games_).value_or_throw();
  used->zygote().ready().wait(io_.waitScope);
  use_once(man_);
  ASSERT_TRUE(until([&] { return spares == 2; })) << "one in each";
  short_of_memory_ = true;
  EXPECT_TRUE(until([&] { return spares == 1; })) << spares;
  EXPECT_FALSE(used->zygote().over()) << "it is used";
  short_of_memory_ = false;
  use_once(man_);
  EXPECT_EQ(started_.size(), 3u) << "another one";
}

TEST_F(ContainerPoolTest, ReplacesOneThatHasEnded) {
  pool_->limit({.most_idle = 4, .most_spares = 0});
  auto used = pool_->use(games_).value_or_throw();
  used->zygote().ready().wait(io_.waitScope);
  ASSERT_EQ(::kill(used->zygote().pid(), SIGKILL), 0);
  ASSERT_TRUE(until([&] { return used->zygote().over(); }));
  auto again = pool_->use(games_).value_or_throw();
  again->zygote().ready().wait(io_.waitScope);
  EXPECT_FALSE(again->zygote().over());
  EXPECT_EQ(started_.size(), 2u);
}

}  // namespace
}  // namespace sublet::manager
