// Loops shared out between a thread and the workers of its lease. SUBLET_TRANSPORT names the
// transport.

#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace sublet {
namespace {

using test::TestManagers;

/// Takes a while, so that it is worth a call; the same on all sides.
std::uint64_t digest(std::uint64_t x) {
  for (int i = 0; i < 2000; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
  return x;
}

class Offload : public testing::Test {
 protected:
  void open(LeaseRequest request = {}) {
    auto options = managers_.session_options();
    if (const char* transport = std::getenv("SUBLET_TRANSPORT")) options.transport = transport;
    session_ = Session::open(options).value_or_throw();
    lease_ = session_.lease(request).value_or_throw();
  }

  TestManagers managers_;
  Session session_;
  Lease lease_;
  const pid_t client_ = ::getpid();  ///< A body that is captured knows by it where it runs.
};

std::vector<std::uint64_t> numbers(std::size_t count) {
  std::vector<std::uint64_t> values(count);
  std::iota(values.begin(), values.end(), 1);
  return values;
}

void expect_digests(std::span<const std::uint64_t> in, std::span<const std::uint64_t> out) {
  ASSERT_EQ(in.size(), out.size());
  for (std::size_t i = 0; i < in.size(); ++i) ASSERT_EQ(out[i], digest(in[i])) << "item " << i;
}

TEST_F(Offload, MapsMemoryOfTheApplication) {
  open({.cores = 2});
  const auto values = numbers(20'000);
  std::vector<std::uint64_t> results(values.size());
  const auto report = offload_map(lease_, in(values), out(results), digest);
  ASSERT_TRUE(report.has_value()) << report.error().what();
  expect_digests(values, results);
  EXPECT_GT(report->here, 0u);
  EXPECT_GT(report->calls, 0u) << report->why;
  EXPECT_EQ(report->here + report->on_workers, values.size());
}

TEST_F(Offload, MapsMemoryOfTheArena) {
  open();
  auto values = lease_.buffer<std::uint64_t>(20'000).value_or_throw();
  auto results = lease_.buffer<std::uint64_t>(values.size()).value_or_throw();
  std::iota(values.begin(), values.end(), 1);
  const auto report = offload_map(lease_, in(values), out(results), digest);
  ASSERT_TRUE(report.has_value()) << report.error().what();
  expect_digests(values.span(), results.span());
  EXPECT_GT(report->calls, 0u) << report->why;
  EXPECT_EQ(report->here + report->on_workers, values.size());
}

TEST_F(Offload, ReducesWhatPartsReturn) {
  open({.cores = 2});
  const std::uint64_t shift = 3;
  const auto sum = offload_reduce(lease_, 20'000, std::uint64_t{7}, std::plus<>(),
                                  [shift](std::size_t first, std::size_t last) {
                                    std::uint64_t part = 0;
                                    for (std::size_t i = first; i < last; ++i)
                                      part += digest(i + shift);
                                    return part;
                                  });
  ASSERT_TRUE(sum.has_value()) << sum.error().what();
  std::uint64_t expected = 7;
  for (std::uint64_t i = 0; i < 20'000; ++i) expected += digest(i + shift);
  EXPECT_EQ(sum->value, expected);
  EXPECT_GT(sum->report.calls, 0u);
}

TEST_F(Offload, GivesABodyTheItemsOfItsPartAndTheRestAsItIs) {
  open();
  const std::vector<std::uint64_t> weights{5, 7, 11};
  const auto values = numbers(5'000);
  std::vector<std::uint64_t> results(3 * values.size());
  const auto report = offload_for(
      lease_, values.size(),
      [](std::size_t first, std::size_t last, std::span<const std::uint64_t> part,
         std::span<std::uint64_t> three, std::span<const std::uint64_t> all_weights,
         const std::string& name) {
        if (part.size() != last - first || three.size() != 3 * part.size() || name != "name") {
          throw std::logic_error("a part of another size");
        }
        for (std::size_t i = 0; i < three.size(); ++i) {
          three[i] = digest(part[i / 3]) * all_weights[i % 3] + first + i / 3;
        }
      },
      in(values), out(results), whole(weights), std::string("name"));
  ASSERT_TRUE(report.has_value()) << report.error().what();
  for (std::size_t i = 0; i < results.size(); ++i) {
    ASSERT_EQ(results[i], digest(values[i / 3]) * weights[i % 3] + i / 3) << i;
  }
  EXPECT_GT(report->calls, 0u) << report->why;
}

TEST_F(Offload, DoesALittleAlone) {
  open();
  for (const std::size_t count : {0u, 1u, 2u, 3u}) {
    const auto values = numbers(count);
    std::vector<std::uint64_t> results(count);
    const auto report = offload_map(lease_, in(values), out(results), digest);
    ASSERT_TRUE(report.has_value()) << report.error().what();
    expect_digests(values, results);
    EXPECT_EQ(report->here + report->on_workers, count);
  }
}

TEST_F(Offload, LeavesAllToWorkersWhenToldTo) {
  open({.cores = 2});
  const auto values = numbers(3'000);
  std::vector<std::uint64_t> results(values.size());
  const auto report =
      offload_map(lease_, {.computes_here = false}, in(values), out(results), digest);
  ASSERT_TRUE(report.has_value()) << report.error().what();
  expect_digests(values, results);
  EXPECT_EQ(report->here, 0u);
  EXPECT_EQ(report->on_workers, values.size());
  EXPECT_GT(report->calls, 2u);
}

TEST_F(Offload, PutsNoFewerItemsTogetherThanAskedFor) {
  open();
  const auto values = numbers(10'000);
  std::vector<std::uint64_t> smallest(values.size());
  const auto report = offload_for(
      lease_, {.least_items = 64}, values.size(),
      [](std::size_t first, std::size_t last, std::span<std::uint64_t> sizes) {
        for (std::size_t i = first; i < last; ++i) {
          (void)digest(i);
          sizes[i - first] = last - first;
        }
      },
      out(smallest));
  ASSERT_TRUE(report.has_value()) << report.error().what();
  // The last part may be smaller.
  for (std::size_t i = 0; i + 64 < values.size(); ++i) ASSERT_GE(smallest[i], 64u) << i;
}

TEST_F(Offload, ComputesElsewhereWhatALostWorkerHad) {
  open();
  const auto values = numbers(20'000);
  std::vector<std::uint64_t> results(values.size());
  const auto report =
      offload_map(lease_, in(values), out(results), [client = client_](std::uint64_t x) {
        if (::getpid() != client) ::raise(SIGKILL);
        return digest(x);
      });
  ASSERT_TRUE(report.has_value()) << report.error().what();
  expect_digests(values, results);
  EXPECT_EQ(report->here, values.size());
  EXPECT_GT(report->again, 0u);
}

TEST_F(Offload, OvertakesAWorkerThatStandsStill) {
  open();
  const auto values = numbers(20'000);
  std::vector<std::uint64_t> results(values.size());
  const auto report =
      offload_map(lease_, in(values), out(results), [client = client_](std::uint64_t x) {
        while (::getpid() != client) ::pause();
        return digest(x);
      });
  ASSERT_TRUE(report.has_value()) << report.error().what();
  expect_digests(values, results);
  EXPECT_EQ(report->here, values.size());
  EXPECT_GT(report->again, 0u);
  lease_.release();
}

TEST_F(Offload, GivesUpWhereWorkersCostMoreThanTheySave) {
  open();
  const auto values = numbers(300'000);
  std::vector<std::uint64_t> results(values.size());
  // It travels with each part, and takes far longer than some items.
  const std::vector<std::uint64_t> luggage(1'000'000, 1);
  const auto report = offload_for(
      lease_, values.size(),
      [](std::size_t, std::size_t, std::span<const std::uint64_t> part,
         std::span<std::uint64_t> sums, std::span<const std::uint64_t> more) {
        for (std::size_t i = 0; i < part.size(); ++i) sums[i] = part[i] + more[i];
      },
      in(values), out(results), whole(luggage));
  ASSERT_TRUE(report.has_value()) << report.error().what();
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(results[i], values[i] + 1) << i;
  EXPECT_TRUE(report->stopped);
  EXPECT_NE(report->why, "");
  EXPECT_LT(report->on_workers, report->here);
}

TEST_F(Offload, NamesTheItemsWhoseBodyFails) {
  open();
  std::vector<std::uint64_t> results(20'000);
  const auto report = offload_for(
      lease_, results.size(),
      [client = client_](std::size_t first, std::size_t last, std::span<std::uint64_t> part) {
        if (::getpid() != client) throw std::runtime_error("no such material");
        for (std::size_t i = first; i < last; ++i) part[i - first] = digest(i);
      },
      out(results));
  ASSERT_FALSE(report.has_value());
  EXPECT_NE(std::string(report.error().what()).find("no such material"), std::string::npos)
      << report.error().what();
  EXPECT_NE(std::string(report.error().what()).find("items "), std::string::npos);
  EXPECT_EQ(lease_.call([] { return 7; }), 7) << "the lease can be used as before";
}

TEST_F(Offload, LetsExceptionsOfThisThreadPass) {
  open();
  std::vector<std::uint64_t> results(20'000);
  const auto loop = [&] {
    return offload_for(
        lease_, results.size(),
        [client = client_](std::size_t first, std::size_t last, std::span<std::uint64_t> part) {
          if (::getpid() == client && first > 50) throw std::out_of_range("here");
          for (std::size_t i = first; i < last; ++i) part[i - first] = digest(i);
        },
        out(results));
  };
  EXPECT_THROW((void)loop(), std::out_of_range);
  EXPECT_EQ(lease_.call([] { return 7; }), 7);
}

TEST_F(Offload, RefusesMemoryThatCannotBeDivided) {
  open();
  const auto values = numbers(1'000);
  std::vector<std::uint64_t> results(1'001);
  const auto map = offload_map(lease_, in(values), out(results), digest);
  ASSERT_FALSE(map.has_value());
  EXPECT_EQ(map.error().kind(), ErrorKind::kInvalid);
  const auto loop = offload_for(
      lease_, 1'000, [](std::size_t, std::size_t, std::span<std::uint64_t>) {}, out(results));
  ASSERT_FALSE(loop.has_value());
  EXPECT_EQ(loop.error().kind(), ErrorKind::kInvalid);
  Lease none;
  results.resize(values.size());
  EXPECT_FALSE(offload_map(none, in(values), out(results), digest).has_value());
}

}  // namespace
}  // namespace sublet

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
