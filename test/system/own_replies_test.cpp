// A soak: many calls in flight, of all sizes, in arena and in plain memory, on executors that die
// now and then. Each call must end once, with its own data or a status that tells why not, and
// nothing may be written to its memory afterwards.
//
// SUBLET_SOAK_SECONDS: how long; 10 unless set. SUBLET_TRANSPORT: over what. SUBLET_SOAK_SEED.

#include "functions/own_replies_work.hpp"
#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace sublet {
namespace {

using namespace std::chrono_literals;
using test::Action;
using test::Order;

constexpr std::size_t kMostBytes = 64u << 10;
constexpr std::uint32_t kSlots = 16;

long from_environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::atol(text);
}

/// Memory for one payload: of the lease's arena or plain.
class Payload {
 public:
  Payload(Lease& lease, std::size_t size, bool in_arena) : size_(size) {
    if (in_arena && size != 0) {
      buffer_ = lease.buffer<std::uint8_t>(size).value_or_throw();
    } else {
      plain_.resize(size);
    }
  }
  [[nodiscard]] std::span<std::uint8_t> bytes() {
    return {plain_.size() == size_ ? plain_.data() : buffer_.data(), size_};
  }

 private:
  std::size_t size_;
  std::vector<std::uint8_t> plain_;
  Buffer<std::uint8_t> buffer_;
};

struct Job {
  std::uint64_t number = 0;
  Action action = Action::kWork;
  bool empty = false;
  std::unique_ptr<Payload> in;
  std::unique_ptr<Payload> out;
  Call call;
  std::vector<std::uint8_t> seen;  ///< The output when the call had ended.
};

class OwnReplies : public ::testing::Test {
 protected:
  void SetUp() override {
    random_.seed(static_cast<unsigned>(from_environment("SUBLET_SOAK_SEED", 1)));
    session_ = Session::open(managers_.session_options()).value_or_throw();
  }

  [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  void new_lease() {
    work_ = overrun_ = again_ = nothing_ = Function();
    lease_ = Lease();
    managers_.wait_for_free_cores(4);
    LeaseRequest request;
    request.cores = 1 + static_cast<std::uint32_t>(below(2));
    request.hot_timeout = below(3) == 0 ? 0ms : -1ms;
    request.slots = kSlots;
    request.arena_bytes = 64u << 20;
    lease_ = session_.lease(request).value_or_throw();
    const auto open = [&](const char* name, FunctionOptions options = {}) {
      return lease_.function(OWN_REPLIES_FUNCTIONS, name, options).value_or_throw();
    };
    work_ = open("work");
    again_ = open("work", {.idempotent = true});
    overrun_ = open("work", {.timeout = 60ms});
    nothing_ = open("nothing");
    window_ = (1 + below(4)) * kSlots * request.cores;
  }

  Job make_job() {
    Job job;
    job.number = ++calls_;
    const std::uint64_t dice = below(50);
    if (dice == 0) {
      constexpr Action kFaults[] = {Action::kCrash, Action::kOverrun, Action::kThrow};
      job.action = kFaults[below(3)];
    }
    job.empty = dice == 1;
    const std::size_t most = below(4) == 0 ? kMostBytes : below(2) == 0 ? 4096 : 64;
    const std::size_t in_size = job.empty ? 0 : sizeof(Order) + below(most + 1);
    const std::size_t out_size = job.empty ? 0 : below(most + 1);
    job.in = std::make_unique<Payload>(lease_, in_size, below(2) == 0);
    job.out = std::make_unique<Payload>(lease_, out_size, below(2) == 0);
    if (job.empty) return job;
    const Order order{job.number, job.action, static_cast<std::uint32_t>(out_size)};
    const auto in = job.in->bytes();
    std::memcpy(in.data(), &order, sizeof(order));
    test::fill_bytes(in.subspan(sizeof(order)), test::input_number(job.number));
    std::ranges::fill(job.out->bytes(), std::uint8_t{0xEE});
    return job;
  }

  Function& function_for(const Job& job) {
    if (job.empty) return nothing_;
    if (job.action == Action::kOverrun) return overrun_;
    return below(4) == 0 ? again_ : work_;
  }

  void start(Job& job) {
    const auto in = job.in->bytes();
    const auto out = job.out->bytes();
    job.call = function_for(job).async(in.data(), in.size(), out.data(), out.size());
  }

  void check(Job& job, const Reply& reply, const std::string& error) {
    ++ends_[to_string(reply.status)];
    const auto out = job.out->bytes();
    if (reply.ok()) {
      EXPECT_EQ(job.action, Action::kWork) << job.number;
      EXPECT_EQ(reply.size, out.size()) << job.number;
      EXPECT_EQ(test::wrong_bytes(out, test::output_number(job.number)), 0u) << job.number;
    } else {
      constexpr Status kOwn[] = {Status::kLost, Status::kCrashed, Status::kTimedOut,
                                 Status::kException};
      const bool expected =
          reply.status == Status::kLost || reply.status == kOwn[static_cast<int>(job.action)];
      EXPECT_TRUE(expected) << job.number << " ended as " << to_string(reply.status) << ": "
                            << error;
    }
    job.seen.assign(out.begin(), out.end());
  }

  void finish(Job& job) {
    Reply reply;
    switch (below(3)) {
      case 0:
        reply = job.call.wait();
        break;
      case 1:
        while (!job.call.poll()) {
        }
        reply = job.call.wait();
        break;
      default:
        do {
          reply = job.call.wait_for(1ms);
        } while (reply.status == Status::kDeadline);
    }
    check(job, reply, job.call.error());
  }

  /// Nothing is written to memory of a call that has ended.
  static void expect_untouched(Job& job) {
    const auto out = job.out->bytes();
    EXPECT_TRUE(std::equal(out.begin(), out.end(), job.seen.begin(), job.seen.end())) << job.number;
  }

  void run_window(std::size_t calls) {
    std::deque<Job> under_way;
    std::deque<Job> ended;
    const auto end_one = [&](std::size_t at) {
      finish(under_way[at]);
      ended.push_back(std::move(under_way[at]));
      under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(at));
      if (ended.size() <= window_) return;
      expect_untouched(ended.front());
      ended.pop_front();
    };
    for (std::size_t i = 0; i < calls; ++i) {
      while (under_way.size() >= window_) end_one(below(2) == 0 ? 0 : below(under_way.size()));
      under_way.push_back(make_job());
      start(under_way.back());
    }
    while (!under_way.empty()) end_one(0);
    for (Job& job : ended) expect_untouched(job);
  }

  void run_batch(std::size_t calls) {
    std::vector<Job> jobs;
    std::vector<BatchItem> items;
    for (std::size_t i = 0; i < calls; ++i) {
      Job& job = jobs.emplace_back(make_job());
      while (job.empty || job.action == Action::kOverrun) job = make_job();
      const auto in = job.in->bytes();
      const auto out = job.out->bytes();
      items.push_back({in.data(), in.size(), out.data(), out.size(), {}});
    }
    const auto report = work_.batch(items, 60s);
    ASSERT_TRUE(report) << report.error().what();
    for (std::size_t i = 0; i < calls; ++i) check(jobs[i], items[i].reply, report->first_error);
    for (Job& job : jobs) expect_untouched(job);
  }

  void run_calls(std::size_t calls) {
    for (std::size_t i = 0; i < calls; ++i) {
      Job job = make_job();
      const auto in = job.in->bytes();
      const auto out = job.out->bytes();
      Function& function = function_for(job);
      const Reply reply = function.call(in.data(), in.size(), out.data(), out.size());
      check(job, reply, function.last_error());
    }
  }

  test::TestManagers managers_;
  Session session_;
  Lease lease_;
  Function work_;
  Function again_;    ///< The same, which may run twice.
  Function overrun_;  ///< The same with a timeout.
  Function nothing_;
  std::mt19937_64 random_;
  std::uint64_t calls_ = 0;
  std::size_t window_ = 1;
  std::map<std::string, std::uint64_t> ends_;
};

TEST_F(OwnReplies, ComeToEachCallThroughDeathsOfItsExecutor) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(from_environment("SUBLET_SOAK_SECONDS", 10));
  while (std::chrono::steady_clock::now() < end && !HasFailure()) {
    new_lease();
    run_window(300);
    run_batch(100);
    run_calls(50);
  }
  std::cout << lease_.worker(0).transport << ": " << calls_ << " calls";
  for (const auto& [status, count] : ends_) std::cout << ", " << status << " " << count;
  std::cout << '\n';
}

}  // namespace
}  // namespace sublet
