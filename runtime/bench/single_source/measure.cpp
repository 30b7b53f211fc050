#include "measure.hpp"

#include <base/clock.hpp>
#include <sublet/sublet.hpp>

#include <bench/batch.hpp>
#include <bench/fork_exec.hpp>
#include <bench/leased_worker.hpp>
#include <bench/statistics.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

namespace sublet::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kCallsPerSample = 16;
constexpr std::size_t kPairs = 200;
constexpr std::uint64_t kStartsPerPair = 5;
/// The cores of a lease that was released are free again after a few milliseconds.
constexpr auto kFreeLimit = 5s;
constexpr auto kFreeCheck = 200us;

std::uint64_t add_one(std::uint64_t x) {
  return x + 1;
}

/// The function of the program itself: a lambda with nothing captured, 8 bytes each way.
struct OwnSide {
  Lease& lease;
  Error error{ErrorKind::kInternal, "a lambda returned a wrong value"};
  std::uint64_t at = 0;

  static Result<void> begin() { return {}; }
  static Result<void> end() { return {}; }
  bool one() {
    const auto result = lease.call([](std::uint64_t x) { return x + 1; }, at);
    if (!result) error = result.error();
    const bool ok = result && *result == at + 1;
    ++at;
    return ok;
  }
  bool checked_one() { return one(); }
  [[nodiscard]] Error failure() const { return error; }
};

/// The same function of a library.
struct LibrarySide {
  TypedFunction<std::uint64_t(std::uint64_t)>& function;
  Error error{ErrorKind::kInternal, "a library's function returned a wrong value"};
  std::uint64_t at = 0;

  static Result<void> begin() { return {}; }
  static Result<void> end() { return {}; }
  bool one() {
    const auto result = function(at);
    if (!result) error = result.error();
    const bool ok = result && *result == at + 1;
    ++at;
    return ok;
  }
  bool checked_one() { return one(); }
  [[nodiscard]] Error failure() const { return error; }
};

/// Pairs of figures in ns, and what they come to.
class Pairs {
 public:
  void add(double ours, double baseline) {
    ours_.push_back(ours);
    baseline_.push_back(baseline);
    ratios_.push_back(ours / baseline);
  }
  [[nodiscard]] std::size_t size() const { return ratios_.size(); }
  [[nodiscard]] SingleSourceRow row(const char* form, const char* baseline) const {
    return {
        form,          baseline, median(ours_) / 1000, median(baseline_) / 1000, median(ratios_),
        ratios_.size()};
  }

 private:
  std::vector<double> ours_;
  std::vector<double> baseline_;
  std::vector<double> ratios_;
};

double ns_since(base::Ticks start) {
  return static_cast<double>(base::TickRate::get().to_ns(base::ticks() - start));
}

Result<SingleSourceRow> measure_lambda(Lease& lease, const std::string& library,
                                       const SingleSourceOptions& options, Progress& progress) {
  auto function = lease.function<std::uint64_t(std::uint64_t)>(library, "add_one");
  if (!function) return tl::unexpected<Error>(function.error());
  OwnSide own{lease};
  LibrarySide theirs{*function};
  Pairs pairs;
  const std::size_t wanted = options.iterations == 0 ? kPairs : options.iterations;
  const BatchPlan plan{.calls_per_sample = kCallsPerSample, .max_samples = ~std::uint64_t{0}};
  while (pairs.size() < wanted) {
    // Which is first alternates: a drift of the machine favours neither.
    const bool own_first = pairs.size() % 2 == 0;
    auto first = own_first ? run_batch(own, plan) : run_batch(theirs, plan);
    if (!first) return tl::unexpected<Error>(first.error());
    auto second = own_first ? run_batch(theirs, plan) : run_batch(own, plan);
    if (!second) return tl::unexpected<Error>(second.error());
    const double a = percentile(*first, 0.5);
    const double b = percentile(*second, 0.5);
    pairs.add(own_first ? a : b, own_first ? b : a);
    progress.show("lambda", pairs.size(), wanted);
  }
  return pairs.row("lambda", "library");
}

Result<Lease> lease_one(Session& session) {
  const base::Deadline deadline = base::Deadline::after(kFreeLimit);
  for (;;) {
    auto lease = session.lease({.cores = 1});
    if (lease || lease.error().kind() != ErrorKind::kOverloaded || deadline.passed()) return lease;
    std::this_thread::sleep_for(kFreeCheck);
  }
}

/// A copy of the library that has as many bytes as this program.
Result<std::string> padded_library(const std::string& library, const std::string& folder) {
  std::error_code error;
  const std::string copy = folder + "/libpadded.so";
  const auto size = std::filesystem::file_size("/proc/self/exe", error);
  if (!error) std::filesystem::copy_file(library, copy, error);
  if (!error && std::filesystem::file_size(copy, error) < size) {
    std::filesystem::resize_file(copy, size, error);
  }
  if (error) return fail(ErrorKind::kInternal, "padding a library: " + error.message());
  return copy;
}

/// The first open of a function in a new lease whose node has the content already.
Result<SingleSourceRow> measure_open(Session& session, const std::string& library,
                                     std::uint64_t wanted, Progress& progress) {
  Pairs pairs;
  for (std::uint64_t round = 0; round <= wanted; ++round) {
    double ours = 0;
    double theirs = 0;
    for (const bool own : {round % 2 == 0, round % 2 != 0}) {
      auto lease = lease_one(session);
      if (!lease) return tl::unexpected<Error>(lease.error());
      const base::Ticks start = base::ticks();
      Result<std::uint64_t> result = fail(ErrorKind::kInternal, "not called");
      if (own) {
        result = lease->call(&add_one, std::uint64_t{1});
        ours = ns_since(start);
      } else {
        auto function = lease->function<std::uint64_t(std::uint64_t)>(library, "add_one");
        if (!function) return tl::unexpected<Error>(function.error());
        result = (*function)(1);
        theirs = ns_since(start);
      }
      if (!result) return tl::unexpected<Error>(result.error());
      lease->release();
    }
    if (round > 0) pairs.add(ours, theirs);  // the first one fills the cache
    progress.show("open", round, wanted);
  }
  return pairs.row("open", "library");
}

/// From asking for a lease to the first result of a lambda.
Result<double> start_once(Session& session) {
  for (auto nodes = session.nodes(); nodes; nodes = session.nodes()) {
    if (std::any_of(nodes->begin(), nodes->end(),
                    [](const NodeInfo& node) { return node.free_cores > 0; })) {
      break;
    }
    std::this_thread::sleep_for(kFreeCheck);
  }
  const base::Ticks start = base::ticks();
  auto lease = session.lease({.cores = 1});
  if (!lease) return tl::unexpected<Error>(lease.error());
  const auto result = lease->call([](std::uint64_t x) { return x + 2; }, std::uint64_t{1});
  const double ns = ns_since(start);
  if (!result) return tl::unexpected<Error>(result.error());
  lease->release();
  return ns;
}

Result<SingleSourceRow> measure_cold(Session& session, ForkExecTimer& timer, std::uint64_t wanted,
                                     Progress& progress) {
  Pairs pairs;
  while (pairs.size() < wanted) {
    std::vector<double> starts;
    for (std::uint64_t i = 0; i < kStartsPerPair; ++i) {
      auto ns = start_once(session);
      if (!ns) return tl::unexpected<Error>(ns.error());
      starts.push_back(*ns);
    }
    auto baseline = timer.run(kStartsPerPair);
    if (!baseline) return tl::unexpected<Error>(baseline.error());
    pairs.add(percentile(starts, 0.5), percentile(*baseline, 0.5));
    progress.show("cold", pairs.size(), wanted);
  }
  return pairs.row("cold", "fork_exec");
}

/// Removes the folder at the end.
struct Folder {
  std::string path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "sublet-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) path = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

}  // namespace

Result<SingleSourceReport> measure_single_source(const SingleSourceOptions& options,
                                                 Progress& progress) {
  constexpr std::uint64_t kStarts = 40;
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
  auto timer = ForkExecTimer::start(self, {kEndAtOnce});
  if (!timer) return tl::unexpected<Error>(timer.error());
  auto library = bench_library();
  if (!library) return tl::unexpected<Error>(library.error());
  const Folder folder;
  auto padded = padded_library(*library, folder.path);
  if (!padded) return tl::unexpected<Error>(padded.error());
  auto session = open_session(options);
  if (!session) return tl::unexpected<Error>(session.error());

  SingleSourceReport report;
  report.transport = options.transport;
  report.manager = session->manager_address();
  const std::uint64_t rounds =
      options.iterations == 0 ? kStarts : std::min(options.iterations, kStarts);
  {
    auto worker = lease_worker(*session, options, {});
    if (!worker) return tl::unexpected<Error>(worker.error());
    report.cpus = worker->cpus;
    auto pinned = PinnedThread::on(worker->cpus.client);
    if (!pinned) return tl::unexpected<Error>(pinned.error());
    auto row = measure_lambda(worker->lease, *library, options, progress);
    if (!row) return tl::unexpected<Error>(row.error());
    report.rows.push_back(*row);
  }
  auto open = measure_open(*session, *padded, rounds, progress);
  if (!open) return tl::unexpected<Error>(open.error());
  report.rows.push_back(*open);
  auto cold = measure_cold(*session, *timer, rounds, progress);
  if (!cold) return tl::unexpected<Error>(cold.error());
  report.rows.push_back(*cold);
  return report;
}

}  // namespace sublet::bench
