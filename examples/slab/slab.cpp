// Monte Carlo transport of particles through a slab: each rank shares its histories out between
// itself and its worker, and the tallies meet what theory says.
//
//   mpirun -n 2 slab [HISTORIES]
//
// The slab is a rod: a particle flies to the right or to the left, and where it collides it is
// absorbed or scattered into either direction. For that, transmission and reflection are known in
// closed form (G. M. Wing, An Introduction to Transport Theory, 1962). Each history has random
// numbers of its own, so the tallies do not depend on who has computed it: they are compared with
// those of one thread, number by number.

#include <sublet/mpi.hpp>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

constexpr double kThickness = 4;      ///< In mean free paths.
constexpr double kScattering = 0.75;  ///< Of all collisions; others absorb.

/// Where particles have ended.
struct Tally {
  std::uint64_t transmitted = 0;
  std::uint64_t reflected = 0;
  std::uint64_t absorbed = 0;
  bool operator==(const Tally&) const = default;
};

Tally operator+(Tally a, const Tally& b) {
  return {a.transmitted + b.transmitted, a.reflected + b.reflected, a.absorbed + b.absorbed};
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a stream for each history.
class Random {
 public:
  explicit Random(std::uint64_t history) : state_(history * 0x9E3779B97F4A7C15u) {}
  /// In (0, 1].
  double next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return static_cast<double>(((z ^ (z >> 31)) >> 11) + 1) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

Tally transport(std::size_t first, std::size_t last, std::uint64_t offset) {
  Tally tally;
  for (std::size_t i = first; i < last; ++i) {
    Random random(offset + i + 1);
    double at = 0;
    double direction = 1;
    for (;;) {
      at -= direction * std::log(random.next());
      if (at >= kThickness || at < 0) {
        ++(at < 0 ? tally.reflected : tally.transmitted);
        break;
      }
      if (random.next() > kScattering) {
        ++tally.absorbed;
        break;
      }
      direction = random.next() < 0.5 ? -1 : 1;
    }
  }
  return tally;
}

/// A share of `histories`, and how far a true one may be from it: five standard deviations.
bool is_near(std::uint64_t count, double expected, double histories) {
  const double deviation = std::sqrt(expected * (1 - expected) / histories);
  return std::abs(static_cast<double>(count) / histories - expected) < 5 * deviation;
}

template <class Work>
double seconds_of(Work&& work) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  work();
  MPI_Barrier(MPI_COMM_WORLD);
  return MPI_Wtime() - start;
}

Tally sum_of_ranks(const Tally& mine) {
  std::array<std::uint64_t, 3> sums{mine.transmitted, mine.reflected, mine.absorbed};
  MPI_Allreduce(MPI_IN_PLACE, sums.data(), 3, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  return {sums[0], sums[1], sums[2]};
}

int run(std::uint64_t histories) {
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  auto workers = sublet::mpi::Allocator::create(MPI_COMM_WORLD).value_or_throw();

  const auto of = static_cast<std::uint64_t>(ranks);
  const auto me = static_cast<std::uint64_t>(rank);
  const std::uint64_t offset = histories * me / of;
  const std::size_t mine = histories * (me + 1) / of - offset;

  Tally alone;
  const double alone_s = seconds_of([&] { alone = sum_of_ranks(transport(0, mine, offset)); });
  Tally shared;
  sublet::OffloadReport report;
  const double shared_s = seconds_of([&] {
    auto reduced =
        sublet::offload_reduce(workers.lease(), mine, Tally{}, std::plus<>(), transport, offset)
            .value_or_throw();
    report = reduced.report;
    shared = sum_of_ranks(reduced.value);
  });
  std::uint64_t by_workers = report.on_workers;
  MPI_Allreduce(MPI_IN_PLACE, &by_workers, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);

  const double kappa = std::sqrt(1 - kScattering);
  const double out = 1 - kScattering / 2;
  const double s = std::sinh(kappa * kThickness);
  const double below = kappa * std::cosh(kappa * kThickness) + out * s;
  const double transmission = kappa / below;
  const double reflection = kScattering / 2 * s / below;
  const auto n = static_cast<double>(histories);
  const bool right = shared == alone && is_near(shared.transmitted, transmission, n) &&
                     is_near(shared.reflected, reflection, n);
  if (rank == 0) {
    std::cout << histories << " histories: transmitted "
              << static_cast<double>(shared.transmitted) / n << " (theory " << transmission
              << "), reflected " << static_cast<double>(shared.reflected) / n << " (theory "
              << reflection << ")\n"
              << "ranks alone " << alone_s << " s, with workers " << shared_s << " s; workers had "
              << 100.0 * static_cast<double>(by_workers) / n << " %"
              << (report.why.empty() ? "" : "; " + report.why) << '\n'
              << (right ? "the tallies are those of one thread" : "WRONG") << '\n';
  }
  return right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  char* end = nullptr;
  const long long wanted = argc > 1 ? std::strtoll(argv[1], &end, 10) : 2'000'000;
  if (wanted <= 0 || (end != nullptr && *end != '\0') || argc > 2) {
    std::cerr << "slab: expected a number of histories, above 0\n";
    return 2;
  }
  MPI_Init(&argc, &argv);
  int code = 1;
  try {
    code = run(static_cast<std::uint64_t>(wanted));
  } catch (const std::exception& error) {
    std::cerr << "slab: " << error.what() << '\n';
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return code;
}
