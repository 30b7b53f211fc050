#pragma once

// Who is let in and who is not; many connections at once and one after the other.

#include "fixture.hpp"

#include <thread>
#include <vector>

namespace sublet::conformance {

template <class T>
class SettingUp : public Fixture<T> {
 protected:
  void expect_refused(const ClientOptions& options, std::shared_ptr<transport::Arena> arena,
                      const std::string& text) {
    const auto client = T::connect(this->executor_->address(), options, std::move(arena));
    ASSERT_FALSE(client) << "let in, where '" << text << "' was expected";
    EXPECT_EQ(client.error().kind(), ErrorKind::kDenied) << client.error().what();
    EXPECT_NE(std::string(client.error().what()).find(text), std::string::npos)
        << "'" << client.error().what() << "' does not say '" << text << "'";
  }
  /// The executor still serves others.
  void expect_serving() {
    ASSERT_TRUE(this->executor_->await_free(0));
    auto client = this->connect();
    this->expect_working(client);
  }
};

TYPED_TEST_SUITE_P(SettingUp);

TYPED_TEST_P(SettingUp, IsRefusedWithAReason) {
  ExecutorOptions options;
  options.host.workers = 2;
  options.host.max_slots = 64;
  options.host.max_arena_bytes = 4u << 20;
  this->start(options);
  ClientOptions wrong;
  wrong.token[0] ^= 1;
  this->expect_refused(wrong, this->arena(), "token");
  wrong = {};
  wrong.token[15] ^= 0x80;
  this->expect_refused(wrong, this->arena(), "token");
  wrong = {};
  wrong.worker = 2;
  this->expect_refused(wrong, this->arena(), "no worker 2");
  wrong = {};
  wrong.slots = 128;
  this->expect_refused(wrong, this->arena(), "128 slots");
  const auto large = transport::Arena::create(8u << 20).value_or_throw();
  this->expect_refused({}, large, "lease allows 4194304");
  for (int i = 0; i < 3; ++i) this->expect_serving();
}

TYPED_TEST_P(SettingUp, IsRefusedForAWorkerThatIsTaken) {
  this->start();
  auto first = this->connect();
  this->expect_refused({}, this->arena(), "already");
  this->expect_working(first);
  first.close();
  this->expect_serving();
}

TYPED_TEST_P(SettingUp, WithUnusableSlotsIsInvalid) {
  this->start();
  for (const std::uint32_t slots : {0u, 3u, 2048u, 0x8000'0000u}) {
    ClientOptions wrong;
    wrong.slots = slots;
    const auto client = TypeParam::connect(this->executor_->address(), wrong, this->arena());
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().kind(), ErrorKind::kInvalid) << client.error().what();
  }
  this->expect_serving();
}

TYPED_TEST_P(SettingUp, FailsInTimeWhenNobodyIsThere) {
  this->start();
  const std::string address = this->executor_->address();
  this->executor_.reset();
  const auto client = TypeParam::connect(address, {}, this->arena());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::kDisconnected);
}

TYPED_TEST_P(SettingUp, FailsInTimeWhenNobodyAnswers) {
  const auto host = conformance::listen<TypeParam>({}).value_or_throw();  // and nobody serves it
  ClientOptions options;
  options.timeout = std::chrono::milliseconds(50);
  const base::Deadline deadline = this->patience();
  const auto client = TypeParam::connect(host->address(), options, this->arena());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::kDisconnected);
  EXPECT_FALSE(deadline.passed());
}

TYPED_TEST_P(SettingUp, GoesOnBesideSilentConnections) {
  this->start();
  std::vector<std::shared_ptr<void>> silent;
  silent.reserve(20);
  for (int i = 0; i < 20; ++i) {
    silent.push_back(TypeParam::connect_silently(this->executor_->address()));
  }
  this->expect_serving();
  silent.clear();
  this->expect_serving();
}

TYPED_TEST_P(SettingUp, ServesAllWorkersAtOnce) {
  ExecutorOptions options;
  options.host.workers = kMaxWorkers;
  options.hot_timeout = std::chrono::nanoseconds(0);
  this->start(options);
  (void)this->arena();
  std::vector<std::thread> threads;
  for (std::uint32_t worker = 0; worker < kMaxWorkers; ++worker) {
    threads.emplace_back([this, worker] {
      ClientOptions mine;
      mine.worker = worker;
      auto client = this->connect(mine);
      for (int i = 0; i < 200; ++i) this->expect_working(client);
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::uint32_t worker = 0; worker < kMaxWorkers; ++worker) {
    EXPECT_EQ(this->worker(worker).calls, 200u) << "worker " << worker;
  }
}

TYPED_TEST_P(SettingUp, AgainAndAgainLeavesNothingBehind) {
  if constexpr (requires { TypeParam::kSurvivesDrops; }) {
    if (!TypeParam::kSurvivesDrops) {
      GTEST_SKIP() << "the provider itself may crash when clients leave with a call under way";
    }
  }
  this->start();
  const auto cycle = [&](bool with_arena_of_its_own) {
    ASSERT_TRUE(this->executor_->await_free(0));
    const auto arena =
        with_arena_of_its_own ? transport::Arena::create(2u << 20).value_or_throw() : this->arena();
    auto client = TypeParam::connect(this->executor_->address(), {}, arena).value_or_throw();
    this->expect_working(client);
    // Half of them leave with a call under way.
    if (with_arena_of_its_own)
      (void)this->submit(client, this->request(Function::kEcho, nullptr, 0));
  };
  // The clients' ends have all been seen when the executor's count says so.
  const auto settle = [&](std::uint64_t cycles) {
    ASSERT_TRUE(await([&] { return this->executor_->clients_ended() == cycles; }));
    ASSERT_TRUE(this->executor_->await_free(0));
  };
  constexpr std::uint64_t kWarmUp = 10;
  for (std::uint64_t i = 0; i < kWarmUp; ++i) cycle(i % 2 == 0);
  settle(kWarmUp);
  const std::size_t descriptors = open_descriptors();
  const std::size_t mappings = mappings_named(TypeParam::kMappingName);
  std::uint64_t cycles = long_run() ? 100'000 : 1'000;
  // Where connecting takes milliseconds a transport may ask for fewer.
  if constexpr (requires { TypeParam::kFewerCycles; }) cycles /= TypeParam::kFewerCycles;
  for (std::uint64_t i = 0; i < cycles && !this->HasFailure(); ++i) cycle(i % 2 == 0);
  settle(kWarmUp + cycles);
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_EQ(mappings_named(TypeParam::kMappingName), mappings);
}

REGISTER_TYPED_TEST_SUITE_P(SettingUp, IsRefusedWithAReason, IsRefusedForAWorkerThatIsTaken,
                            WithUnusableSlotsIsInvalid, FailsInTimeWhenNobodyIsThere,
                            FailsInTimeWhenNobodyAnswers, GoesOnBesideSilentConnections,
                            ServesAllWorkersAtOnce, AgainAndAgainLeavesNothingBehind);

}  // namespace sublet::conformance
