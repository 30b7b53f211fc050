#pragma once

#include <transport/fabric/fabric_transport.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace sublet::transport::fabric {

/// A listener of the tcp provider, and channels made through it in the same process.
class FabricPair : public ::testing::Test {
 protected:
  void SetUp() override { ::setenv("SUBLET_FABRIC_PROVIDER", "tcp", 1); }
  void TearDown() override { ::unsetenv("SUBLET_FABRIC_PROVIDER"); }

  void listen(std::uint64_t max_arena_bytes = std::uint64_t{1} << 30) {
    ListenOptions options;
    options.max_arena_bytes = max_arena_bytes;
    options.token = kToken;
    listener_ = Listener::open(options, "127.0.0.1").value_or_throw();
    arena_ = Arena::create(2u << 20).value_or_throw();
  }

  /// Serves the listener until `done`; a failure after some seconds.
  void serve_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      if (done()) return;
      if (std::chrono::steady_clock::now() >= end) FAIL() << "what was waited for did not happen";
      std::vector<pollfd> fds;
      listener_->append_poll_fds(fds);
      const int limit = listener_->poll_timeout_ms();
      ::poll(fds.data(), fds.size(), limit < 0 || limit > 1 ? 1 : limit);
      listener_->service([this](std::uint32_t) { return server_ == nullptr; },
                         [this](std::uint32_t, std::unique_ptr<ServerChannel> channel) {
                           server_ = std::move(channel);
                         },
                         [this](std::uint32_t) { ++ended_; });
    }
  }

  [[nodiscard]] ConnectOptions options() const {
    ConnectOptions options;
    options.address = listener_->address();
    options.token = kToken;
    return options;
  }

  /// Connects while this thread serves.
  Result<ClientChannel> connect(const ConnectOptions& options) {
    std::atomic<bool> done{false};
    std::thread connecting([&] {
      // Result cannot be assigned: a channel cannot.
      auto made = fabric::Transport::connect(options, arena_);
      new_client_ = std::make_unique<Result<ClientChannel>>(std::move(made));
      done = true;
    });
    serve_until([&] { return done.load(); });
    connecting.join();
    if (*new_client_) serve_until([&] { return server_ != nullptr; });
    return std::move(*new_client_);
  }

  /// The next request that the server sees.
  [[nodiscard]] bool next(Invocation& invocation) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end && server_->is_open()) {
      if (server_->poll(invocation)) return true;
    }
    return false;
  }

  static constexpr Token kToken{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<Arena> arena_;
  std::unique_ptr<ServerChannel> server_;
  int ended_ = 0;

 private:
  std::unique_ptr<Result<ClientChannel>> new_client_;
};

}  // namespace sublet::transport::fabric
