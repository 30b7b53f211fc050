#pragma once

// The peer's process is stopped. No call of the contract may wait for it: submit and poll return at
// once, with whatever payload and however full the window is, and wait ends with its deadline. When
// the peer goes on, so do all calls.

#include "fixture.hpp"

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace sublet::conformance {

/// Lets a peer go on when the test has waited for it for longer than its patience: a call that
/// blocks then returns, and the test fails instead of hanging.
class Guard {
 public:
  explicit Guard(std::function<void()> release)
      : thread_([this, release = std::move(release)] {
          std::unique_lock lock(mutex_);
          if (over_.wait_for(lock, kPatience, [this] { return ended_; })) return;
          fired_ = true;
          release();
        }) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() { (void)ended_in_time(); }

  /// Ends the watch. False when it had to step in.
  [[nodiscard]] bool ended_in_time() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    over_.notify_all();
    if (thread_.joinable()) thread_.join();
    return !fired_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool ended_ = false;
  bool fired_ = false;
  std::thread thread_;
};

template <class T>
class Blocking : public Fixture<T> {
 protected:
  using typename Fixture<T>::Client;

  struct Load {
    std::uint64_t size;
    std::uint32_t slots;
  };
  /// Small, several packets on any network, and large. Each window is more than a network's queues
  /// or buffers hold.
  static constexpr std::array<Load, 3> kLoads{{{8, 1024}, {64u << 10, 256}, {1u << 20, 16}}};
  static constexpr std::size_t kArena = std::size_t{64} << 20;

  void SetUp() override {
    Fixture<T>::SetUp();
    if (this->IsSkipped()) return;
    ExecutorOptions options;
    options.host.workers = kLoads.size();
    executor_ = std::make_unique<ChildExecutor<T>>(options, this->control_);
  }

  /// A client with an arena and a worker of its own, so that all it does with memory is done for
  /// the first time.
  void connect(const Load& load) {
    this->make_arena(kArena);
    ClientOptions options;
    options.worker = static_cast<std::uint32_t>(&load - kLoads.data());
    options.slots = load.slots;
    client_.emplace(T::connect(executor_->address(), options, this->arena()).value_or_throw());
    this->expect_working(*client_);
  }

  void TearDown() override {
    client_.reset();
    executor_.reset();
  }

  /// What a call may take of a processor: many times what copying or registering its payload takes.
  static std::chrono::nanoseconds most_work() {
    return emulated_machine() ? std::chrono::seconds(10) : std::chrono::milliseconds(100);
  }

  /// Runs a call that must not block: neither by sleeping nor by spinning.
  template <class Call>
  static auto at_once(const char* what, Call&& call) {
    const std::uint64_t slept = times_slept();
    const auto worked = processor_time();
    const auto result = call();
    EXPECT_EQ(times_slept(), slept) << what << " went to sleep";
    EXPECT_LT(processor_time() - worked, most_work()) << what << " waited spinning";
    return result;
  }

  /// A window of echoes.
  struct Window {
    std::vector<Ticket> tickets;
    std::vector<std::byte*> in;
    std::vector<std::byte*> out;
  };

  Window submit_window(std::uint64_t size) {
    Window window;
    for (std::uint32_t i = 0; i < client_->slots(); ++i) {
      window.in.push_back(static_cast<std::byte*>(this->arena()->allocate(size)));
      window.out.push_back(static_cast<std::byte*>(this->arena()->allocate(size)));
      fill(window.in[i], size, size + i);
      std::memset(window.out[i], 0, size);
      Ticket ticket;
      const Request request =
          this->request(Function::kEcho, window.in[i], size, window.out[i], size);
      EXPECT_EQ(at_once("submit", [&] { return client_->submit(request, ticket); }), Status::kOk);
      window.tickets.push_back(ticket);
    }
    return window;
  }

  /// Polls and waits for each call in vain.
  void expect_nothing(const Window& window) {
    ReplyView reply;
    for (const Ticket ticket : window.tickets) {
      EXPECT_EQ(at_once("poll", [&] { return client_->poll(ticket, reply); }), Status::kAgain);
      const auto passed = base::Deadline::after(std::chrono::nanoseconds(0));
      EXPECT_EQ(client_->wait(ticket, reply, passed), Status::kDeadline);
    }
    // Longer than it spins: it sleeps, checks its peer, and sleeps again.
    const auto deadline = base::Deadline::after(std::chrono::milliseconds(200));
    for (const Ticket ticket : {window.tickets.front(), window.tickets.back()}) {
      EXPECT_EQ(client_->wait(ticket, reply, deadline), Status::kDeadline);
      EXPECT_TRUE(deadline.passed());
    }
    Ticket more;
    const Request small = this->request(Function::kEcho, nullptr, 0);
    EXPECT_EQ(at_once("submit", [&] { return client_->submit(small, more); }), Status::kAgain);
    EXPECT_TRUE(at_once("check_peer", [&] { return client_->check_peer(); }));
  }

  std::unique_ptr<ChildExecutor<T>> executor_;
  std::optional<Client> client_;
};

TYPED_TEST_SUITE_P(Blocking);

TYPED_TEST_P(Blocking, DelaysNoCallWhileItsPeerIsStopped) {
  Child& peer = this->executor_->process();
  for (const auto& load : TestFixture::kLoads) {
    SCOPED_TRACE(load.size);
    this->connect(load);
    peer.stop();
    Guard guard([&] { peer.go_on(); });
    const auto window = this->submit_window(load.size);
    this->expect_nothing(window);
    EXPECT_TRUE(guard.ended_in_time()) << "a call waited for its peer";
    peer.go_on();
    for (std::uint32_t i = 0; i < load.slots; ++i) {
      const ReplyView reply = this->collect(*this->client_, window.tickets[i]);
      ASSERT_EQ(reply.status, Status::kOk) << to_string(reply.status) << ": " << reply.error;
      EXPECT_EQ(reply.size, load.size);
      EXPECT_EQ(std::memcmp(window.in[i], window.out[i], load.size), 0) << i;
    }
    EXPECT_EQ(this->client_->in_flight(), 0u);
    this->expect_working(*this->client_);
    this->client_.reset();
  }
}

TYPED_TEST_P(Blocking, EndsCallsThatDieWhileItsPeerIsStopped) {
  Child& peer = this->executor_->process();
  this->connect(TestFixture::kLoads.back());
  peer.stop();
  Guard guard([&] { peer.go_on(); });
  const auto window = this->submit_window(TestFixture::kLoads.back().size);
  this->expect_nothing(window);
  EXPECT_TRUE(guard.ended_in_time()) << "a call waited for its peer";
  peer.kill();
  for (const Ticket ticket : window.tickets) {
    EXPECT_EQ(this->collect(*this->client_, ticket).status, Status::kLost);
  }
  EXPECT_EQ(this->client_->in_flight(), 0u);
  Ticket more;
  EXPECT_EQ(this->client_->submit(this->request(Function::kEcho, nullptr, 0), more),
            Status::kClosed);
}

TYPED_TEST_P(Blocking, DelaysNoCloseWhileItsPeerIsStopped) {
  Child& peer = this->executor_->process();
  this->connect(TestFixture::kLoads.back());
  peer.stop();
  Guard guard([&] { peer.go_on(); });
  const auto window = this->submit_window(TestFixture::kLoads.back().size);
  this->client_->close();
  for (const Ticket ticket : window.tickets) {
    ReplyView reply;
    EXPECT_EQ(TestFixture::at_once("poll", [&] { return this->client_->poll(ticket, reply); }),
              Status::kOk);
    EXPECT_EQ(reply.status, Status::kClosed);
  }
  this->client_.reset();
  EXPECT_TRUE(guard.ended_in_time()) << "a call waited for its peer";
}

REGISTER_TYPED_TEST_SUITE_P(Blocking, DelaysNoCallWhileItsPeerIsStopped,
                            EndsCallsThatDieWhileItsPeerIsStopped,
                            DelaysNoCloseWhileItsPeerIsStopped);

}  // namespace sublet::conformance
