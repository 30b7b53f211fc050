#pragma once

#include "cpus.hpp"
#include <sublet/result.hpp>
#include <transport/any/kind.hpp>
#include <wire/limits.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace sublet::bench {

enum class Mode { kHot, kWarm, kCold };
[[nodiscard]] const char* to_string(Mode mode);

inline constexpr std::size_t kMaxSize = std::size_t{64} << 20;
inline constexpr std::uint64_t kMaxIterations = 1'000'000'000;
inline constexpr std::size_t kMaxRows = 64;        ///< Sizes or windows of one run.
inline constexpr std::uint32_t kMaxWindow = 1024;  ///< Slots that a channel can have.
/// Workers that one executor can have.
inline constexpr std::uint32_t kMaxConnections = wire::kMaxWorkersPerExecutor;
/// Payload that the calls of one window may have together.
inline constexpr std::size_t kMaxUnderWay = std::size_t{512} << 20;

/// What every benchmark is told.
struct CommonOptions {
  CpuPair cpus;             ///< Chosen already when not given.
  bool cpus_given = false;  ///< The user named them: measure there or not at all.
  std::string json_file;    ///< Empty: none; "-": standard output, instead of the table.
  std::string manager;  ///< Empty: as Session::open finds one. Not of `connect`, which has none.
  transport::Kind transport = transport::same_node_kind();
};

struct LatencyOptions : CommonOptions {
  Mode mode = Mode::kHot;
  std::vector<std::size_t> sizes{8, 1024, 65536};
  /// Timed calls per size; 0: as many as 200 batch pairs take. Mode cold has its own defaults.
  std::uint64_t iterations = 0;
  std::uint64_t warmup = 1000;  ///< Calls before the first timed one of a size.
  bool compare = false;
};

struct ColdOptions : CommonOptions {
  std::uint64_t iterations = 200;  ///< Cold starts.
  std::uint64_t warmup = 5;
};

struct IsolationOptions : CommonOptions {
  std::uint64_t iterations = 40;  ///< Cold starts of each isolation, bare and warm.
  std::uint64_t warmup = 2;
  std::string image;  ///< Of containers; empty: they are left out.
};

struct RateOptions : CommonOptions {
  std::vector<std::uint32_t> windows{1, 2, 4, 8, 16};
  std::size_t size = 8;
  std::uint64_t iterations = 0;  ///< Timed calls per window; 0: as many as 100 batch pairs take.
  std::uint64_t warmup = 1000;
};

struct BandwidthOptions : CommonOptions {
  std::vector<std::size_t> sizes{65536, 1048576};
  std::uint32_t window = 16;
  std::uint64_t iterations = 0;  ///< Timed calls per size; 0: as many as 60 batch pairs take.
  std::uint64_t warmup = 100;
};

struct ConnectOptions : CommonOptions {
  std::vector<std::uint32_t> counts{8, 16, 32, 64};
  std::uint64_t iterations = 20;  ///< Rounds per count: all together once, one by one once.
  std::uint64_t warmup = 2;
};

struct SingleSourceOptions : CommonOptions {
  std::uint64_t iterations = 0;  ///< Pairs per row; 0: as many as each row wants.
  std::uint64_t warmup = 0;      ///< Not used.
};

struct WideOptions : CommonOptions {
  std::uint32_t cores = 2;            ///< Of the wide worker.
  std::uint64_t options = 4'000'000;  ///< To be priced by a call: some 150 ms on one core.
  std::uint64_t iterations = 30;      ///< Timed calls of each worker.
  std::uint64_t warmup = 1;
};

/// The user asked for this text.
struct HelpText {
  std::string text;
};

using BenchOptions =
    std::variant<HelpText, LatencyOptions, ColdOptions, RateOptions, BandwidthOptions,
                 ConnectOptions, WideOptions, SingleSourceOptions, IsolationOptions>;

/// Reads the words after `sublet bench` and checks them, the cores against this process's own.
/// kInvalid names the option, what was found and what is accepted.
Result<BenchOptions> parse_bench(const std::vector<std::string>& words);

/// `sublet bench --help`.
[[nodiscard]] std::string bench_help();

}  // namespace sublet::bench
