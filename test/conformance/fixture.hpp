#pragma once

#include "control.hpp"
#include "executor.hpp"
#include "functions.hpp"
#include "process.hpp"
#include "transport_under_test.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace sublet::conformance {

using transport::ReplyView;
using transport::Request;
using transport::Ticket;

/// One executor, one arena, and short ways to say what the tests do most.
template <TransportUnderTest T>
class Fixture : public ::testing::Test {
 protected:
  using Client = typename T::Client;

  void SetUp() override {
    if (const std::string reason = T::why_not(); !reason.empty()) GTEST_SKIP() << reason;
  }

  void start(ExecutorOptions options = {}) {
    executor_.reset();
    executor_ = std::make_unique<Executor<T>>(std::move(options), control_);
    control_.publish(executor_->address());
  }

  [[nodiscard]] std::shared_ptr<transport::Arena> arena() {
    if (!arena_) make_arena(std::size_t{2} << 20);
    return arena_;
  }
  void make_arena(std::size_t size) { arena_ = transport::Arena::create(size).value_or_throw(); }

  [[nodiscard]] Client connect(const ClientOptions& options = {}) {
    return T::connect(executor_->address(), options, arena()).value_or_throw();
  }

  [[nodiscard]] WorkerView& worker(std::uint32_t index = 0) { return control_->workers[index]; }

  /// Waits until a worker is asleep in its channel.
  [[nodiscard]] bool await_worker_asleep(std::uint32_t index = 0, pid_t process = ::getpid()) {
    WorkerView& view = worker(index);
    return await([&] { return view.in_sleep && is_blocked(process, view.thread); });
  }

  [[nodiscard]] static base::Deadline patience() { return base::Deadline::after(kPatience); }

  static Request request(Function function, const void* in, std::uint64_t in_size,
                         void* out = nullptr, std::uint64_t out_capacity = 0) {
    return {in, in_size, out, out_capacity, static_cast<std::uint16_t>(function), false};
  }

  /// Submits, again where the network takes no more just now; any other end is a failure.
  static Ticket submit(Client& client, const Request& request) {
    Ticket ticket;
    const base::Deadline limit = patience();
    Status status = client.submit(request, ticket);
    while (status == Status::kAgain && !limit.passed()) status = client.submit(request, ticket);
    EXPECT_EQ(status, Status::kOk) << to_string(status);
    return ticket;
  }

  static ReplyView collect(Client& client, Ticket ticket) {
    ReplyView reply;
    const Status status = client.wait(ticket, reply, patience());
    EXPECT_EQ(status, Status::kOk) << to_string(status);
    return reply;
  }

  static ReplyView call(Client& client, const Request& request) {
    return collect(client, submit(client, request));
  }

  /// A small call, to see that the channel works.
  static void expect_working(Client& client) {
    const std::uint64_t in = 0x1234'5678'9abc'def0;
    std::uint64_t out = 0;
    const ReplyView reply = call(client, request(Function::kEcho, &in, 8, &out, 8));
    EXPECT_EQ(reply.status, Status::kOk) << to_string(reply.status) << ": " << reply.error;
    EXPECT_EQ(reply.size, 8u);
    EXPECT_EQ(out, in);
  }

  SharedControl control_;
  std::shared_ptr<transport::Arena> arena_;
  std::unique_ptr<Executor<T>> executor_;
};

}  // namespace sublet::conformance
