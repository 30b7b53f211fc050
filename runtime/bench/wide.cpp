#include "wide.hpp"

#include "companion.hpp"
#include <base/clock.hpp>
#include <sublet/sublet.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace sublet::bench {
namespace {

constexpr unsigned kCallsPerBatch = 3;
/// Each core is offered twice: to the wide worker, and one of them to the other.
constexpr std::uint32_t kWorkersPerCore = 2;
/// Beyond it the sums of the two workers differ by more than the order of adding explains.
constexpr double kSumTolerance = 1e-9;

using PriceOptions = TypedFunction<double(std::uint64_t)>;

struct Pricer {
  Lease lease;
  PriceOptions price;
};

Result<Session> open_wide_session(const WideOptions& options) {
  auto session = SessionOptions::load();
  if (!session) return tl::unexpected<Error>(std::move(session.error()));
  if (!options.manager.empty()) session->manager = options.manager;
  session->transport = to_string(options.transport);
  session->private_oversubscribe = kWorkersPerCore;
  return Session::open(*session);
}

Result<Pricer> lease_pricer(Session& session, const std::string& library, std::uint32_t cores) {
  LeaseRequest request;
  request.cores_per_worker = cores;
  request.hot_timeout = std::chrono::milliseconds(0);  // idle, it leaves its cores to the other
  auto lease = session.lease(request);
  if (!lease) return tl::unexpected<Error>(std::move(lease.error()));
  auto price = lease->function<double(std::uint64_t)>(library, "price_options");
  if (!price) return tl::unexpected<Error>(std::move(price.error()));
  return Pricer{std::move(*lease), std::move(*price)};
}

/// One call, in ns.
Result<double> call_once(Pricer& pricer, std::uint64_t options, double& sum) {
  const base::Ticks start = base::ticks();
  const auto priced = pricer.price(options);
  const base::Ticks end = base::ticks();
  if (!priced) return tl::unexpected<Error>(priced.error());
  sum = *priced;
  return static_cast<double>(base::TickRate::get().to_ns(end - start));
}

/// Timed calls after one that is not: the threads of the other worker, which spin for some ms
/// after their work, are asleep when it has ended.
Result<std::vector<double>> call_batch(Pricer& pricer, std::uint64_t options, std::uint64_t count,
                                       double& sum) {
  if (auto first = call_once(pricer, options, sum); !first) {
    return tl::unexpected<Error>(std::move(first.error()));
  }
  std::vector<double> samples;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto sample = call_once(pricer, options, sum);
    if (!sample) return tl::unexpected<Error>(std::move(sample.error()));
    samples.push_back(*sample);
  }
  return samples;
}

void add_all(std::vector<double>& all, const std::vector<double>& batch) {
  all.insert(all.end(), batch.begin(), batch.end());
}

}  // namespace

Result<WideReport> measure_wide(const WideOptions& options, Progress& progress) {
  auto library = find_companion("libsublet_bench_openmp_functions.so");
  if (!library) return tl::unexpected<Error>(std::move(library.error()));
  auto session = open_wide_session(options);
  if (!session) return tl::unexpected<Error>(std::move(session.error()));
  auto one = lease_pricer(*session, *library, 1);
  if (!one) return tl::unexpected<Error>(std::move(one.error()));
  auto wide = lease_pricer(*session, *library, options.cores);
  if (!wide) return tl::unexpected<Error>(std::move(wide.error()));

  WideReport report;
  report.transport = options.transport;
  report.manager = session->manager_address();
  report.cores = options.cores;
  report.cpuset = wide->lease.worker(0).cpuset;
  report.options = options.options;
  std::vector<double> wide_ns;
  std::vector<double> one_ns;
  std::vector<BatchPair> pairs;
  double wide_sum = 0;
  double one_sum = 0;
  for (std::uint64_t i = 0; i < options.warmup; ++i) {
    for (Pricer* pricer : {&*wide, &*one}) {
      if (auto warm = call_once(*pricer, options.options, wide_sum); !warm) {
        return tl::unexpected<Error>(std::move(warm.error()));
      }
    }
  }
  while (report.calls < options.iterations) {
    const auto count = std::min<std::uint64_t>(kCallsPerBatch, options.iterations - report.calls);
    auto slow = call_batch(*one, options.options, count, one_sum);
    if (!slow) return tl::unexpected<Error>(std::move(slow.error()));
    auto fast = call_batch(*wide, options.options, count, wide_sum);
    if (!fast) return tl::unexpected<Error>(std::move(fast.error()));
    if (std::abs(wide_sum - one_sum) > kSumTolerance * std::abs(one_sum)) {
      return fail(ErrorKind::kInternal, "the two workers have computed different sums");
    }
    BatchPair pair;
    pair.ours = percentile(*slow, 0.5);  // the ratio is how many times as fast the wide one is
    pair.baseline = percentile(*fast, 0.5);
    pairs.push_back(pair);
    add_all(one_ns, *slow);
    add_all(wide_ns, *fast);
    report.calls += count;
    progress.show("wide", report.calls, options.iterations);
  }
  report.wide_us = to_us(spread_of(std::move(wide_ns)));
  report.one_core_us = to_us(spread_of(std::move(one_ns)));
  report.pairs = summarise(pairs);
  return report;
}

}  // namespace sublet::bench
