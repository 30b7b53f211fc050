#pragma once

// Sleeping and waking: that no wake-up is lost, and that threads which spin make room for those
// they wait for.
//
// A lost wake-up hides behind the time limit of every sleep. Here those limits are an hour, so that
// one is a call that takes as long as the test's patience.

#include "fixture.hpp"

#include <sys/resource.h>

#include <array>
#include <random>
#include <thread>
#include <vector>

namespace sublet::conformance {

template <class T>
class WakeUps : public Fixture<T> {
 protected:
  using typename Fixture<T>::Client;
  static constexpr std::chrono::nanoseconds kForEver = std::chrono::hours(1);

  static ExecutorOptions workers_that_sleep_after(std::chrono::nanoseconds hot_timeout) {
    ExecutorOptions options;
    options.hot_timeout = hot_timeout;
    options.sleep_limit = kForEver;
    options.drowsiness = std::chrono::microseconds(2);  // what the client takes between two calls
    return options;
  }
  static ClientOptions client_that_sleeps_after(std::chrono::nanoseconds spin) {
    ClientOptions options;
    options.wait.spin = spin;
    options.wait.sleep_slice = kForEver;
    return options;
  }

  /// One call: `pause` after the last one, running for `running` ticks.
  void call_after(Client& client, base::Ticks pause, std::uint64_t running) {
    const base::Ticks resume = base::ticks() + pause;
    while (base::ticks() < resume) {
    }
    std::uint64_t out = ~running;
    const base::Deadline deadline = this->patience();
    const Ticket ticket =
        this->submit(client, this->request(Function::kDawdle, &running, 8, &out, 8));
    ReplyView reply;
    // A sleep that ends with the deadline finds the reply that it was not woken for.
    ASSERT_EQ(client.wait(ticket, reply, deadline), Status::kOk) << "a wake-up was lost";
    ASSERT_FALSE(deadline.passed()) << "a wake-up was lost";
    ASSERT_EQ(out, running);
  }

  /// Makes all transitions() calls, and then goes on until `slept_enough`: on a busy machine fewer
  /// calls may find the other side asleep. Gives up after ten times as many.
  template <class Call, class SleptEnough>
  void call_until(Call&& call, SleptEnough&& slept_enough) {
    const std::uint64_t least = transitions();
    for (std::uint64_t i = 0; i < least || !slept_enough(); ++i) {
      ASSERT_LT(i, 10 * least) << "it hardly ever went to sleep";
      call();
      if (this->HasFatalFailure()) FAIL() << "in call " << i;
    }
  }

  /// Calls that come and end just when the other side falls asleep, some before and some after.
  /// When a worker does that its drowsiness decides. For a client it is found by trying: calls get
  /// shorter while it has slept for them, and longer while it has not. One that is told never to
  /// sleep has no such brink.
  template <class SleptEnough>
  void call_at_the_brink(Client& client, bool client_sleeps, SleptEnough&& slept_enough) {
    const base::Ticks spread =
        base::TickRate::get().from(emulated_machine() ? kEmulatedBrink : kBrink);
    const base::Ticks step = 1 + spread / 64;
    std::mt19937_64 random(43);
    base::Ticks brink = 0;
    std::uint64_t slept = times_slept();
    const auto call = [&] {
      const base::Ticks running = brink + random() % (2 * spread);
      call_after(client, random() % spread, running > spread ? running - spread : 0);
      const std::uint64_t now_slept = times_slept();
      if (client_sleeps) brink = now_slept == slept ? brink + step : brink - std::min(brink, step);
      slept = now_slept;
    };
    call_until(call, slept_enough);
  }

  /// What the places of a sleeping word and of a request differ by, many times over.
  static constexpr std::chrono::nanoseconds kBrink{400};
  /// There a worker's reply is on its way for longer than that before the worker looks again.
  static constexpr std::chrono::nanoseconds kEmulatedBrink{50'000};

  static std::uint64_t transitions() {
    // A processor that is emulated takes a thousand times as long to wake, and its two sides fall
    // asleep at moments that scatter by themselves.
    if (emulated_machine()) return 5'000;
    return long_run() ? 1'000'000 : 100'000;
  }
};

TYPED_TEST_SUITE_P(WakeUps);

TYPED_TEST_P(WakeUps, ReachASleepingWorker) {
  this->start(this->workers_that_sleep_after(std::chrono::nanoseconds(0)));
  auto client = this->connect();
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(this->await_worker_asleep());
    this->expect_working(client);
    if (this->HasFailure()) break;
  }
}

TYPED_TEST_P(WakeUps, ReachASleepingClient) {
  this->start();
  auto client = this->connect(this->client_that_sleeps_after(std::chrono::nanoseconds(0)));
  const pid_t self = ::gettid();
  for (int i = 0; i < 200; ++i) {
    const Ticket ticket = this->submit(client, this->request(Function::kWait, nullptr, 0));
    std::thread opener([&] {
      EXPECT_TRUE(await([&] { return is_blocked(::getpid(), self); }));
      this->control_.open_gate();
    });
    ReplyView reply;
    const base::Deadline deadline = this->patience();
    EXPECT_EQ(client.wait(ticket, reply, deadline), Status::kOk);
    EXPECT_FALSE(deadline.passed()) << "the client was not woken";
    opener.join();
    if (this->HasFailure()) break;
  }
}

TYPED_TEST_P(WakeUps, AreNotLostByWorkersThatFallAsleep) {
  this->start(this->workers_that_sleep_after(std::chrono::nanoseconds(0)));
  auto client = this->connect(this->client_that_sleeps_after(this->kForEver));
  this->call_at_the_brink(client, false,
                          [&] { return this->worker().sleeps >= this->transitions() / 2; });
}

TYPED_TEST_P(WakeUps, AreNotLostByClientsThatFallAsleep) {
  this->start(this->workers_that_sleep_after(this->kForEver));
  auto client = this->connect(this->client_that_sleeps_after(std::chrono::nanoseconds(0)));
  const std::uint64_t slept = times_slept();
  this->call_at_the_brink(client, true,
                          [&] { return times_slept() - slept >= this->transitions() / 100; });
}

TYPED_TEST_P(WakeUps, AreNotLostWhenBothSidesFallAsleep) {
  this->start(this->workers_that_sleep_after(std::chrono::nanoseconds(0)));
  auto client = this->connect(this->client_that_sleeps_after(std::chrono::nanoseconds(0)));
  this->call_at_the_brink(client, true,
                          [&] { return this->worker().sleeps >= this->transitions() / 2; });
}

TYPED_TEST_P(WakeUps, AreNotLostWhenBothSidesTurnFromHotToWarm) {
  using namespace std::chrono_literals;
  this->start(this->workers_that_sleep_after(3us));
  auto client = this->connect(this->client_that_sleeps_after(3us));
  const base::Ticks range = base::TickRate::get().from(6us);
  std::mt19937_64 random(53);
  this->call_until([&] { this->call_after(client, random() % range, random() % range); },
                   [&] { return this->worker().sleeps >= this->transitions() / 100; });
}

TYPED_TEST_P(WakeUps, AreNotLostWithTheWindowFull) {
  using namespace std::chrono_literals;
  this->start(this->workers_that_sleep_after(0ns));
  auto client = this->connect(this->client_that_sleeps_after(0ns));
  std::mt19937_64 random(47);
  std::array<std::uint64_t, 16> in{};
  std::array<std::uint64_t, 16> out{};
  for (std::uint64_t round = 0; round < this->transitions() / 20; ++round) {
    const std::size_t calls = 1 + random() % in.size();
    std::vector<Ticket> tickets;
    const base::Deadline deadline = this->patience();
    for (std::size_t i = 0; i < calls; ++i) {
      in[i] = random() % 2'000;
      tickets.push_back(
          this->submit(client, this->request(Function::kDawdle, &in[i], 8, &out[i], 8)));
    }
    for (const std::size_t i : {calls - 1, calls / 2, std::size_t{0}}) {
      ReplyView reply;
      const Status status = client.wait(tickets[i], reply, deadline);
      ASSERT_TRUE(status == Status::kOk || status == Status::kInvalid);  // collected already
    }
    for (const Ticket ticket : tickets) {
      ReplyView reply;
      const Status status = client.wait(ticket, reply, deadline);
      ASSERT_TRUE(status == Status::kOk || status == Status::kInvalid);
    }
    ASSERT_EQ(client.in_flight(), 0u);
    ASSERT_FALSE(deadline.passed()) << "a wake-up was lost in round " << round;
  }
}

TYPED_TEST_P(WakeUps, ByInterruptReachASleepingWorker) {
  this->start(this->workers_that_sleep_after(std::chrono::nanoseconds(0)));
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(this->executor_->await_free(0));
    auto client = this->connect();
    ASSERT_TRUE(this->executor_->await_taken(0));
    if (i % 2 == 0) {
      ASSERT_TRUE(this->await_worker_asleep());
    }
    this->executor_->interrupt(0);
    ASSERT_TRUE(this->executor_->await_free(0)) << "the worker went on sleeping";
  }
}

/// Pairs of a client and its workers, each bound to CPUs of its own.
template <class T>
class Crowds : public WakeUps<T> {
 protected:
  /// What a client got done, and what of a processor it took for that. Other programs may keep the
  /// machine busy: they make it wait longer, but spin no more than it wants to.
  struct Tally {
    std::uint64_t calls = 0;
    std::chrono::nanoseconds processor{0};
    [[nodiscard]] double ns_per_call() const {
      return static_cast<double>(processor.count()) / static_cast<double>(calls);
    }
  };

  /// A client that keeps one call under way with each of its workers, for `duration` and at least
  /// one call.
  Tally run_client(const std::vector<std::uint32_t>& workers, std::size_t cpu,
                   std::chrono::nanoseconds duration) {
    bind_this_thread(cpu);
    std::vector<Client> channels;
    for (const std::uint32_t worker : workers) {
      ClientOptions options;
      options.worker = worker;
      channels.push_back(this->connect(options));
    }
    Tally tally;
    std::vector<Ticket> tickets(channels.size());
    const auto start = processor_time();
    const base::Deadline end = base::Deadline::after(duration);
    do {
      for (std::size_t i = 0; i < channels.size(); ++i) {
        tickets[i] = this->submit(channels[i], this->request(Function::kEcho, nullptr, 0));
      }
      for (std::size_t i = 0; i < channels.size(); ++i) {
        EXPECT_EQ(this->collect(channels[i], tickets[i]).status, Status::kOk);
      }
      tally.calls += channels.size();
    } while (!end.passed() && !this->HasFailure());
    tally.processor = processor_time() - start;
    return tally;
  }

  using typename WakeUps<T>::Client;
};

TYPED_TEST_SUITE_P(Crowds);

TYPED_TEST_P(Crowds, OfSpinnersMakeProgressOnTwoCores) {
  using namespace std::chrono_literals;
  if (usable_cpus() < 2) GTEST_SKIP() << "this needs two CPUs";
  ExecutorOptions options;  // workers that never sleep of their own will
  options.host.workers = 4;
  options.cpus = {0, 0, 1, 1};
  this->start(options);
  (void)this->arena();
  typename TestFixture::Tally alone;
  std::thread([&] { alone = this->run_client({2}, 0, 200ms); }).join();
  ASSERT_TRUE(this->executor_->await_free(2));
  std::array<typename TestFixture::Tally, 2> crowded;
  std::thread first([&] { crowded[0] = this->run_client({0, 2}, 0, 1s); });
  std::thread second([&] { crowded[1] = this->run_client({1, 3}, 1, 1s); });
  first.join();
  second.join();
  // A client that spins on although it keeps its worker from the core pays for each call with all
  // its patience, thousands of times what a call takes alone. One that makes room pays for a few
  // switches, and, where other programs want the cores too, for their slices now and then.
  for (const auto& tally : crowded) {
    EXPECT_LT(tally.ns_per_call(), 1500 * alone.ns_per_call())
        << tally.calls << " calls in the crowd, " << alone.calls << " alone in a fifth of the time";
  }
}

REGISTER_TYPED_TEST_SUITE_P(WakeUps, ReachASleepingWorker, ReachASleepingClient,
                            AreNotLostByWorkersThatFallAsleep, AreNotLostByClientsThatFallAsleep,
                            AreNotLostWhenBothSidesFallAsleep,
                            AreNotLostWhenBothSidesTurnFromHotToWarm, AreNotLostWithTheWindowFull,
                            ByInterruptReachASleepingWorker);
REGISTER_TYPED_TEST_SUITE_P(Crowds, OfSpinnersMakeProgressOnTwoCores);

}  // namespace sublet::conformance
