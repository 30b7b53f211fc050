#include <common/async.hpp>
#include <wire/side_thread.hpp>

#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <future>

namespace sublet::manager {
namespace {

using wire::SideThread;

using namespace std::chrono_literals;

TEST(SideThread, DoesAJobThatHangsBesideTheLoop) {
  auto io = kj::setupAsyncIo();
  auto& timer = io.provider->getTimer();
  SideThread thread;
  EXPECT_EQ(thread.run<int>([] { return 1; }).wait(io.waitScope), 1);

  std::promise<void> gate;
  auto hanging = thread.run<int>([open = gate.get_future().share()] {
    open.wait();
    return 2;
  });
  timer.afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  EXPECT_FALSE(hanging.poll(io.waitScope));
  EXPECT_THROW(thread.run<int>([] { return 3; }).wait(io.waitScope), kj::Exception)
      << "no second one behind it";
  gate.set_value();
  EXPECT_EQ(within(timer, 10s, kj::mv(hanging), "the job").wait(io.waitScope), 2);
  EXPECT_EQ(thread.run<int>([] { return 4; }).wait(io.waitScope), 4);
}

TEST(SideThread, NeedNotEndBeforeItsOwner) {
  std::promise<void> gate;
  std::promise<void> done;
  auto ended = done.get_future();
  {
    auto io = kj::setupAsyncIo();
    SideThread thread;
    auto hanging = thread.run<int>([open = gate.get_future().share(), &done] {
      open.wait();
      done.set_value();
      return 1;
    });
    EXPECT_FALSE(hanging.poll(io.waitScope));
  }
  gate.set_value();
  EXPECT_EQ(ended.wait_for(30s), std::future_status::ready);
}

}  // namespace
}  // namespace sublet::manager
