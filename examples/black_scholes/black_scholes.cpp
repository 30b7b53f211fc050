// An MPI application that offloads: the ranks divide a portfolio of options among them, and each
// prices its part together with its leased workers, step by step as the market moves.
//
//   option_generator --output portfolio.bin
//   mpirun -n 2 black_scholes portfolio.bin --offload-share auto
//
// Each step is priced twice in turns, by the ranks alone and together with their workers: that
// gives pairs of times to compare, and prices to check against, bit for bit.

#include "balance.hpp"
#include "collective.hpp"
#include "offloader.hpp"
#include "portfolio.hpp"
#include "settings.hpp"
#include "summary.hpp"
#include <sublet/mpi.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <optional>
#include <random>
#include <span>

namespace black_scholes {
namespace {

/// Call - put = spot - discounted strike holds exactly; rounding leaves some of the last digits of
/// the amounts on the right.
constexpr double kParityTolerance = 1e-13;

/// Calls made one at a time at the start, at most, to see what a single round trip takes.
constexpr std::size_t kSingleCalls = 2000;

/// The options [first, first + count) are this rank's.
struct Part {
  std::uint64_t first = 0;
  std::size_t count = 0;
};

Part part_of(int rank, int ranks, std::uint64_t options) {
  const auto from = [&](int r) {
    const auto n = static_cast<std::uint64_t>(ranks);
    const auto i = static_cast<std::uint64_t>(r);
    return options / n * i + options % n * i / n;
  };
  return {from(rank), static_cast<std::size_t>(from(rank + 1) - from(rank))};
}

/// A worker that has had nothing to do for so long sleeps: it must not take part of a core from the
/// ranks while they price alone.
constexpr auto kHotTimeout = std::chrono::milliseconds(1);

/// When the nodes have left and no other has cores, a rank soon prices its part alone.
constexpr auto kWorkerWait = std::chrono::milliseconds(500);

/// Collective: `price()` prices this rank's part. Returns the seconds it took until all ranks knew
/// the value of the whole portfolio, on rank 0.
template <class PricePart>
double seconds_of(std::span<const Price> prices, double& value, PricePart&& price) {
  MPI_Barrier(MPI_COMM_WORLD);
  const auto began = std::chrono::steady_clock::now();
  price();
  const double mine =
      std::accumulate(prices.begin(), prices.end(), 0.0,
                      [](double sum, const Price& p) { return sum + p.call + p.put; });
  MPI_Allreduce(&mine, &value, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// What looking at the prices of this rank has found.
struct Verdict {
  std::uint64_t different = 0;
  std::uint64_t parity_broken = 0;
  double largest_parity_error = 0;

  static std::array<std::uint64_t, 2> bits(const Price& price) {
    return std::bit_cast<std::array<std::uint64_t, 2>>(price);
  }

  void check(std::span<const Option> options, std::span<const Price> prices,
             std::span<const Price> expected) {
    for (std::size_t i = 0; i < prices.size(); ++i) {
      if (bits(prices[i]) != bits(expected[i])) ++different;
      const Option& o = options[i];
      const double discounted = o.strike * std::exp(-o.rate * o.maturity);
      const double error =
          std::abs(prices[i].call - prices[i].put - (o.spot - discounted)) / (o.spot + discounted);
      if (!(error <= kParityTolerance)) ++parity_broken;
      largest_parity_error = std::max(largest_parity_error, error);
    }
  }
};

/// One run of the application on one rank.
class Application {
 public:
  explicit Application(const Settings& settings) : settings_(settings) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks_);
  }

  /// True when all prices were right.
  bool run() {
    load();
    lease_workers();
    price_step_by_step();
    return report();
  }

 private:
  void load() {
    together([this] {
      const Portfolio portfolio(settings_.portfolio);
      const Part part = part_of(rank_, ranks_, portfolio.count());
      options_in_all_ = portfolio.count();
      largest_part_ = static_cast<std::size_t>(options_in_all_ / std::uint64_t(ranks_) + 1);
      loaded_.resize(part.count);
      portfolio.read(part.first, loaded_);
    });
  }

  void lease_workers() {
    sublet::mpi::AllocatorOptions options;
    options.session = settings_.session;
    options.workers_per_rank = settings_.workers_per_rank;
    options.hot_timeout = kHotTimeout;
    options.worker_wait = kWorkerWait;
    // The same on all ranks: room for the largest part, and for what Sublet itself keeps there.
    options.arena_bytes = largest_part_ * (sizeof(Option) + sizeof(Price)) + (64u << 20);
    auto created = sublet::mpi::Allocator::create(MPI_COMM_WORLD, options);
    if (!created) throw CollectiveFailure(created.error().what());  // the same on every rank
    workers_ = std::move(*created);
  }

  void price_step_by_step() {
    sublet::Lease& lease = workers_.lease();
    // In the arena, where the workers read and write them in place.
    sublet::Buffer<Option> option_buffer;
    sublet::Buffer<Price> price_buffer;
    std::optional<Offloader> offloader;
    together([&] {
      option_buffer = lease.buffer<Option>(largest_part_).value_or_throw();
      price_buffer = lease.buffer<Price>(largest_part_).value_or_throw();
      offloader.emplace(lease, settings_.chunk);
    });
    const std::span<Option> options = option_buffer.span().first(loaded_.size());
    const std::span<Price> prices = price_buffer.span().first(loaded_.size());
    if (!loaded_.empty()) offloader->measure_single_calls(loaded_.front(), kSingleCalls);

    std::vector<Option> own_options;
    std::vector<Price> expected(loaded_.size());
    Balance balance(settings_.offload_share, settings_.workers_per_rank);
    const auto alone = [&] {
      price_options(own_options.data(), own_options.size(), expected.data());
    };
    const auto offloading = [&] {
      const StepReport step =
          offloader->step(options, prices, balance.share(), balance.is_estimate());
      balance.observe(step.own_rate(), step.workers_rate());
      steps_.push_back(step);
    };
    double value_alone = 0;
    const auto time_alone = [&] {
      seconds_alone_.push_back(seconds_of(expected, value_alone, alone));
    };
    const auto time_offloading = [&] {
      seconds_offloading_.push_back(seconds_of(prices, value_, offloading));
    };
    do {
      own_options = loaded_;
      std::copy(loaded_.begin(), loaded_.end(), options.begin());
      std::mt19937_64 random(42);
      for (std::uint32_t step = 0; step < settings_.steps; ++step) {
        // The news reaches rank 0: all prices move by up to one per cent.
        double move = 1 + 0.02 * (static_cast<double>(random() >> 11) * 0x1p-53 - 0.5);
        MPI_Bcast(&move, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
        for (Option& option : own_options) option.spot *= move;
        for (Option& option : options) option.spot *= move;
        // Neither way is always the first, which finds the options in the cache.
        if (step % 2 == 0) time_alone();
        time_offloading();
        if (step % 2 != 0) time_alone();
        verdict_.check(options, prices, expected);
      }
      ++rounds_;
    } while (goes_on());
    chunk_us_ = offloader->chunk_round_trips_us();
    single_us_ = offloader->single_round_trips_us();
    failed_calls_ = offloader->failed_calls();
    first_failure_ = offloader->first_failure();
  }

  /// Rank 0 looks: all must agree.
  bool goes_on() const {
    int more = !settings_.until.empty() && !std::filesystem::exists(settings_.until) ? 1 : 0;
    MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return more != 0;
  }

  bool report() {
    Summary s;
    s.options = options_in_all_;
    s.steps = settings_.steps * rounds_;
    s.chunk = settings_.chunk;
    s.automatic = !settings_.offload_share;
    s.trace = settings_.trace;
    s.portfolio_value = value_;
    s.gain = Gain::of(seconds_alone_, seconds_offloading_);
    s.step_seconds_alone = median(seconds_alone_);
    s.step_seconds_offloading = median(seconds_offloading_);
    for (const auto& text : gather(place_of_this_rank(workers_.lease()).to_text())) {
      s.ranks.push_back(RankPlace::from_text(text));
    }
    s.chunks = percentiles(gather(chunk_us_));
    s.single = percentiles(gather(single_us_));
    for (const auto& text : gather(first_failure_)) {
      if (s.first_failure.empty()) s.first_failure = text;
    }
    add_up(s);

    auto usage = workers_.usage();
    if (usage) {
      s.usage = *usage;
    } else if (rank_ == 0) {
      std::cerr << "black_scholes: no figures of usage: " << usage.error().what() << '\n';
    }
    if (!settings_.trace.empty()) {
      auto written = workers_.write_trace(settings_.trace);
      if (!written) throw CollectiveFailure(written.error().what());
    }
    together([&] {
      if (rank_ != 0) return;
      print(std::cout, s);
      if (!settings_.json.empty()) write_json(settings_.json, s);
    });
    return s.right();
  }

  /// Collective: the numbers of all ranks, on every rank.
  void add_up(Summary& s) const {
    const auto add = [](std::uint64_t mine) {
      std::uint64_t sum = 0;
      MPI_Allreduce(&mine, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
      return sum;
    };
    for (const StepReport& step : steps_) {
      s.own += step.own;
      s.offloaded += step.offloaded;
    }
    s.own = add(s.own);
    s.offloaded = add(s.offloaded);
    const auto all = static_cast<double>(options_in_all_);
    s.first_share = static_cast<double>(add(steps_.front().offloaded)) / all;
    s.last_share = static_cast<double>(add(steps_.back().offloaded)) / all;
    s.failed_calls = add(failed_calls_);
    s.different = add(verdict_.different);
    s.parity_broken = add(verdict_.parity_broken);
    MPI_Allreduce(&verdict_.largest_parity_error, &s.largest_parity_error, 1, MPI_DOUBLE, MPI_MAX,
                  MPI_COMM_WORLD);
  }

  const Settings& settings_;
  int rank_ = 0;
  int ranks_ = 1;
  std::uint64_t options_in_all_ = 0;
  std::size_t largest_part_ = 0;
  std::uint32_t rounds_ = 0;
  std::vector<Option> loaded_;              ///< This rank's part as it is in the file.
  std::vector<double> seconds_alone_;       ///< Of each step.
  std::vector<double> seconds_offloading_;  ///< Of each step, pairwise with those.
  sublet::mpi::Allocator workers_;
  std::vector<StepReport> steps_;
  Verdict verdict_;
  double value_ = 0;
  std::vector<float> chunk_us_;
  std::vector<float> single_us_;
  std::uint64_t failed_calls_ = 0;
  std::string first_failure_;
};

int run(int argc, char** argv) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  try {
    std::optional<Settings> settings;
    std::string help;
    together([&] { settings = read_settings(argc, argv, help); });
    if (!settings) {
      if (rank == 0) std::cout << help;
      return 0;
    }
    return Application(*settings).run() ? 0 : 1;
  } catch (const CollectiveFailure& failure) {
    if (rank == 0) std::cerr << "black_scholes: " << failure.what() << '\n';
    return 2;
  }
}

}  // namespace
}  // namespace black_scholes

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int code = 2;
  try {
    code = black_scholes::run(argc, argv);
  } catch (const std::exception& error) {
    // On this rank only: the others may be waiting for it.
    std::cerr << "black_scholes: " << error.what() << '\n';
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  MPI_Finalize();
  return code;
}
