#include "compare_wide.hpp"

#include "pairs.hpp"
#include <sublet/mpi.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

namespace sublet::mpi::bench {
namespace {

using PriceOptions = TypedFunction<double(std::uint64_t)>;

constexpr std::uint64_t kOptions = 400'000;  ///< Some tens of milliseconds on one core.
constexpr std::uint32_t kCores = 2;
/// Beyond it sums differ by more than the order of adding explains.
constexpr double kSumTolerance = 1e-9;

/// A worker and its function.
struct Pricer {
  Allocator workers;
  PriceOptions price;
};

Pricer lease_pricer(const char* library, std::uint32_t cores) {
  AllocatorOptions options;
  options.session = SessionOptions::load().value_or_throw();
  options.session.private_oversubscribe = 2;           // each core, for either worker
  options.hot_timeout = std::chrono::milliseconds(0);  // idle, it leaves its cores to the other
  options.cores_per_worker = cores;
  options.arena_bytes = std::uint64_t{16} << 20;
  Pricer pricer{Allocator::create(MPI_COMM_SELF, options).value_or_throw(), {}};
  pricer.price = pricer.workers.lease()
                     .function<double(std::uint64_t)>(library, "price_options")
                     .value_or_throw();
  return pricer;
}

/// In us; of the second call of two: threads of the other worker, which spin for some ms after
/// their work, are asleep then.
double time_of(Pricer& pricer, double& sum) {
  (void)pricer.price(kOptions).value_or_throw();
  const auto start = Clock::now();
  sum = pricer.price(kOptions).value_or_throw();
  return microseconds_of(Clock::now() - start);
}

}  // namespace

void compare_wide(const char* library, const char* mpi) {
  constexpr int kPairs = 15;
  Pricer one = lease_pricer(library, 1);
  Pricer wide = lease_pricer(library, kCores);
  Row row{"wide_2cores", "worker of one core", {}, {}};
  row.is_speed_up = true;
  for (int i = 0; i < pairs_of(kPairs); ++i) {
    double one_sum = 0;
    double wide_sum = 0;
    const double slow = time_of(one, one_sum);
    row.add(time_of(wide, wide_sum), slow);
    if (std::abs(wide_sum - one_sum) > kSumTolerance * std::abs(one_sum)) {
      throw Error(ErrorKind::kInternal, "the two workers have computed different sums");
    }
  }
  row.print(mpi, "-");
}

}  // namespace sublet::mpi::bench
