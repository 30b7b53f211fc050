// Functions of the test itself on workers of real managers. SUBLET_TRANSPORT names the transport.

#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace test_types {

/// Not trivially copyable: travels by serialize().
struct Mesh {
  std::string name;
  std::vector<double> heights;
  bool operator==(const Mesh&) const = default;
};

template <class Archive>
void serialize(Archive& archive, Mesh& mesh) {
  archive(mesh.name, mesh.heights);
}

}  // namespace test_types

namespace sublet {
namespace {

using test::TestManagers;
using test::TestNode;

double hypotenuse(double a, double b) {
  return std::hypot(a, b);
}

/// As the library has it.
struct Factors {
  double a, b;
};

struct Scale {
  double factor;
  double operator()(double x) const { return factor * x; }
};

class SingleSource : public testing::Test {
 protected:
  void open(LeaseRequest request = {}) {
    managers_ = std::make_unique<TestManagers>();
    auto options = managers_->session_options();
    if (const char* transport = std::getenv("SUBLET_TRANSPORT")) options.transport = transport;
    session_ = Session::open(options).value_or_throw();
    lease_ = session_.lease(request).value_or_throw();
  }
  [[nodiscard]] bool on_this_node() const { return lease_.worker(0).transport == "shm"; }

  std::unique_ptr<TestManagers> managers_;
  Session session_;
  Lease lease_;
};

TEST_F(SingleSource, CallsLambdasFunctionsAndFunctionObjects) {
  open();
  const double scale = 2;
  int shift = 5;  // a constant would need no capture
  EXPECT_EQ(lease_.call([scale, shift](double x) { return scale * x + shift; }, 8.0), 21.0);
  EXPECT_EQ(lease_.call([] { return 7; }), 7);
  EXPECT_EQ(lease_.call(hypotenuse, 3, 4.0), 5.0);
  EXPECT_EQ(lease_.call(&hypotenuse, 5.0, 12.0), 13.0);
  EXPECT_EQ(lease_.call(Scale{3}, 4.0), 12.0);
  EXPECT_EQ(lease_.function<&hypotenuse>()(6.0, 8.0), 10.0);
  EXPECT_TRUE(lease_.call([](int) {}, 1));
  int counter = 3;
  EXPECT_EQ(lease_.call([counter]() mutable { return ++counter; }), 4);
  const auto other = lease_.call([] { return static_cast<long>(::getpid()); }).value_or_throw();
  EXPECT_NE(other, ::getpid()) << "it ran in another process";
}

TEST_F(SingleSource, KeepsTwoLambdasOfOneFunctionApart) {
  open();
  std::array<Result<int>, 3> results{
      lease_.call([](int x) { return x + 1; }, 1),
      lease_.call([](int x) { return x + 10; }, 1),
      lease_.call([](int x) { return x + 100; }, 1),
  };
  EXPECT_EQ(results[0], 2);
  EXPECT_EQ(results[1], 11);
  EXPECT_EQ(results[2], 101);
}

TEST_F(SingleSource, SendsTextsVectorsArraysAndOwnTypes) {
  open();
  const auto joined = lease_.call(
      [](const std::vector<std::string>& words, const std::string& between) {
        std::string text;
        for (const auto& word : words) text += (text.empty() ? "" : between) + word;
        return text;
      },
      std::vector<std::string>{"a", "", "bcd"}, std::string(", "));
  EXPECT_EQ(joined.value_or(""), "a, , bcd");
  const test_types::Mesh mesh{"m", {1, 2, 3}};
  const auto doubled = lease_.call(
      [](test_types::Mesh m) {
        for (double& h : m.heights) h *= 2;
        return m;
      },
      mesh);
  ASSERT_TRUE(doubled) << doubled.error().what();
  EXPECT_EQ(*doubled, (test_types::Mesh{"m", {2, 4, 6}}));
  const auto two = lease_.call(
      [](std::array<std::string, 2> pair) {
        return std::vector<bool>{pair[0].empty(), pair[1].empty()};
      },
      std::array<std::string, 2>{"", "x"});
  ASSERT_TRUE(two) << two.error().what();
  EXPECT_EQ(*two, (std::vector<bool>{true, false}));
}

TEST_F(SingleSource, SendsMemoryInAndOutOfEverySize) {
  open();
  const double scale = 3;
  for (const std::size_t size : {0u, 1u, 5u, 100u, 10'000u, 300'000u}) {
    std::vector<double> x(size);
    std::vector<double> y(size, -1);
    std::iota(x.begin(), x.end(), 1.0);
    const auto done = lease_.call(
        [scale](std::span<const double> from, std::span<double> to) {
          for (std::size_t i = 0; i < from.size(); ++i) to[i] = scale * from[i];
          return from.size();
        },
        in(x), out(y));
    ASSERT_TRUE(done) << size << ": " << done.error().what();
    EXPECT_EQ(*done, size);
    for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(y[i], scale * x[i]) << i << " of " << size;
    const auto sum = lease_.call(
        [](std::span<const double> from) { return std::accumulate(from.begin(), from.end(), 0.0); },
        in(x));
    EXPECT_EQ(sum, std::accumulate(x.begin(), x.end(), 0.0));
    std::vector<float> z(size, -1);
    ASSERT_TRUE(lease_.call(
        [](std::span<const double> from, std::span<float> to) {
          for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(from[i]) + 1;
        },
        in(x), out(z)));
    for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(z[i], static_cast<float>(x[i]) + 1) << i;
  }
}

TEST_F(SingleSource, WorksOnArenaMemoryWhereItLies) {
  open();
  auto x = lease_.buffer<int>(1000).value_or_throw();
  auto y = lease_.buffer<int>(1000).value_or_throw();
  std::iota(x.begin(), x.end(), 0);
  std::fill(y.begin(), y.end(), -1);
  int by = 2;
  // Two inputs, of which one begins in the middle of a buffer, and a result beside the output.
  const auto sum = lease_.call(
      [by](std::span<const int> all, std::span<const int> half, std::span<int> to) {
        for (std::size_t i = 0; i < all.size(); ++i) to[i] = all[i] * by;
        return std::accumulate(half.begin(), half.end(), 0);
      },
      in(x), in(x.span().subspan(501)), out(y));
  ASSERT_TRUE(sum) << sum.error().what();
  EXPECT_EQ(*sum, (501 + 999) * 499 / 2);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(y[static_cast<std::size_t>(i)], 2 * i);
  if (!on_this_node()) return;
  // The worker writes into an input: seen here, it had no copy.
  (void)lease_.call([by](std::span<const int> all) { const_cast<int&>(all[7]) = 70 * by; }, in(x))
      .value_or_throw();
  EXPECT_EQ(x[7], 140);
}

TEST_F(SingleSource, RunsCallsUnderWayTogether) {
  open();
  std::vector<Async<int>> calls;
  std::vector<std::vector<int>> inputs;
  inputs.reserve(100);
  for (int i = 0; i < 100; ++i) inputs.emplace_back(static_cast<std::size_t>(i), i);
  for (int i = 0; i < 100; ++i) {
    auto call = lease_.async(
        [i](std::span<const int> numbers) {
          return std::accumulate(numbers.begin(), numbers.end(), i);
        },
        in(inputs[static_cast<std::size_t>(i)]));
    calls.push_back(std::move(call).value_or_throw());
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(calls[static_cast<std::size_t>(i)].get(), i * i + i);
  }
  EXPECT_FALSE(calls[0].get()) << "empty by now";
}

TEST_F(SingleSource, BringsExceptionsBack) {
  open();
  const auto thrown = lease_.call(
      [](int x) {
        if (x > 0) throw std::runtime_error("x is too large");
        return x;
      },
      1);
  ASSERT_FALSE(thrown);
  const std::string text = thrown.error().what();
  EXPECT_NE(text.find("x is too large"), std::string::npos) << text;
  EXPECT_NE(text.find("runtime_error"), std::string::npos) << text;
  EXPECT_NE(text.find("lambda(int)"), std::string::npos) << text;
  const auto own = lease_.call([] { throw FunctionError("no such thing", 3); });
  ASSERT_FALSE(own);
  EXPECT_NE(std::string(own.error().what()).find("no such thing"), std::string::npos);
  EXPECT_EQ(lease_.call([] { return 1; }), 1) << "the worker goes on";
}

TEST_F(SingleSource, CrashesWhereACapturedReferenceIsUsed) {
  open();
  // At an address where an executor has nothing.
  constexpr std::uintptr_t kFar = 0x2345'6789'0000;
  void* memory = ::mmap(reinterpret_cast<void*>(kFar), 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_EQ(memory, reinterpret_cast<void*>(kFar));
  struct Counter {
    int value = 3;
    auto call_on(Lease& lease) {
      return lease.call([this] { return value; });
    }
  };
  auto* counter = new (memory) Counter;
  const int& value = counter->value;
  for (const Result<int>& result :
       {lease_.call([&value] { return value; }), counter->call_on(lease_)}) {
    ASSERT_FALSE(result);
    EXPECT_NE(std::string(result.error().what()).find("SIGSEGV"), std::string::npos)
        << result.error().what();
  }
  EXPECT_EQ(lease_.call([value] { return value; }), 3) << "captured by value";
  ::munmap(memory, 4096);
}

TEST_F(SingleSource, GoesOnAfterACrash) {
  open();
  const auto crashed = lease_.call([] { std::abort(); });
  ASSERT_FALSE(crashed);
  EXPECT_NE(std::string(crashed.error().what()).find("SIGABRT"), std::string::npos)
      << crashed.error().what();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(lease_.call([](int x) { return 2 * x; }, i), 2 * i) << "in the next executor";
  }
}

TEST_F(SingleSource, RunsFunctionsOfLibrariesInTheSameLease) {
  open();
  auto multiply = lease_.function<double(Factors)>(CLIENT_FUNCTIONS, "multiply").value_or_throw();
  EXPECT_EQ(lease_.call([](int x) { return x; }, 5), 5);
  EXPECT_EQ(multiply({6, 7}), 42.0);
  EXPECT_EQ(lease_.call([](int x) { return x + 1; }, 5), 6);
}

TEST_F(SingleSource, HasEachThreadItsOwnLease) {
  managers_ = std::make_unique<TestManagers>();
  session_ = Session::open(managers_->session_options()).value_or_throw();
  std::vector<std::thread> threads;
  std::array<long, 2> sums{};
  for (std::size_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      auto first = session_.lease().value_or_throw();
      auto second = session_.lease().value_or_throw();
      for (long i = 0; i < 100; ++i) {
        Lease& lease = i % 2 == 0 ? first : second;
        sums[t] += lease.call([](long x) { return x; }, i).value_or_throw();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sums, (std::array<long, 2>{4950, 4950}));
}

TEST_F(SingleSource, EndsAFunctionAtItsTimeout) {
  open();
  auto slow = lease_.function<&::pause>({.timeout = std::chrono::milliseconds(50)});
  const auto ended = slow();
  ASSERT_FALSE(ended);
  EXPECT_NE(std::string(ended.error().what()).find("50 ms"), std::string::npos)
      << ended.error().what();
}

TEST_F(SingleSource, EndsALambdaAtItsTimeout) {
  open();
  int captured = 1;
  auto limited = lease_.with({.timeout = std::chrono::milliseconds(50)});
  const auto endless = [captured] {
    for (;;) ::pause();
    return captured;
  };
  for (int i = 0; i < 2; ++i) {
    const auto ended = limited.call(endless);
    ASSERT_FALSE(ended);
    EXPECT_NE(std::string(ended.error().what()).find("50 ms"), std::string::npos)
        << ended.error().what();
  }
  auto later = limited.async(endless).value_or_throw();
  EXPECT_FALSE(later.get());
  EXPECT_EQ(limited.call([captured](int x) { return x + captured; }, 1), 2);
}

TEST_F(SingleSource, RunsALostLambdaAgainWhenItMayRunTwice) {
  open();
  const auto process = [] { return static_cast<long>(::getpid()); };
  const auto die_if = [](long doomed) {
    const long own = ::getpid();
    if (own == doomed) ::kill(::getpid(), SIGKILL);
    return own;
  };
  const long first = lease_.call(process).value_or_throw();
  const auto second = lease_.with({.idempotent = true}).call(die_if, first);
  ASSERT_TRUE(second) << second.error().what();
  EXPECT_NE(*second, first);
  const auto lost = lease_.call(die_if, *second);
  ASSERT_FALSE(lost) << "without the option it is lost";
  EXPECT_EQ(lost.error().kind(), ErrorKind::kDisconnected);
  const long third = lease_.call(process).value_or_throw();
  auto again = lease_.with({.idempotent = true}).async(die_if, third).value_or_throw();
  const auto fourth = again.get();
  ASSERT_TRUE(fourth) << fourth.error().what();
  EXPECT_NE(*fourth, third);
}

TEST_F(SingleSource, HasRoomForLargeResultsWhenAskedTo) {
  open();
  const auto text_of = [](std::size_t n) { return std::string(n, 'x'); };
  for (const std::size_t size : {std::size_t{60'000}, std::size_t{1} << 20, std::size_t{5} << 20}) {
    auto roomy = lease_.with({.result_bytes = size + 64});
    const auto result = roomy.call(text_of, size);
    ASSERT_TRUE(result) << result.error().what();
    EXPECT_EQ(*result, std::string(size, 'x'));
    EXPECT_EQ(roomy.async(text_of, size).value_or_throw().get().value_or_throw().size(), size);
  }
}

TEST_F(SingleSource, SaysWhenAResultHasNoRoom) {
  open();
  const auto huge =
      lease_.call([](std::size_t n) { return std::string(n, 'x'); }, std::size_t{1} << 20);
  ASSERT_FALSE(huge);
  EXPECT_NE(std::string(huge.error().what()).find("1048"), std::string::npos)
      << huge.error().what();
}

TEST_F(SingleSource, HasNothingOfTheJobAroundIt) {
  ::setenv("SLURM_JOB_ID", "17", 1);
  open();
  ::unsetenv("SLURM_JOB_ID");
  const auto left = lease_.call([] {
    std::string found;
    for (const char* name : {"SLURM_JOB_ID", "LD_PRELOAD", "SUBLET_EXECUTOR_ORDER"}) {
      if (std::getenv(name) != nullptr) found += std::string(name) + " ";
    }
    return found;
  });
  EXPECT_EQ(left.value_or("?"), "");
}

TEST(SingleSourceEmpty, IsRefused) {
  Lease lease;
  const auto result = lease.call([](int x) { return x; }, 1);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::kInvalid);
  EXPECT_FALSE(lease.async([](int x) { return x; }, 1));
}

}  // namespace
}  // namespace sublet

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
