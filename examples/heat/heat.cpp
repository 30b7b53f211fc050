// The heat equation on a square, with halo exchange: in each step a rank's worker computes a part
// of its rows, the rank another, while the rows of the neighbours arrive; one wait is for all of
// it.
//
//   mpirun -n 2 heat [POINTS_ON_A_SIDE [STEPS]]
//
// u is 0 at the border and begins as sin(pi x) sin(pi y). That is an eigenvector of the difference
// scheme, so after each step it is the same times a known factor: the result is compared with it.

#include <sublet/mpi.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <numbers>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

constexpr double kRatio = 0.2;  ///< Diffusivity x time step / distance squared; stable to 0.25.
constexpr double kTolerance = 1e-12;

/// The rows of `to`. `from` has one row more before them, and one after.
void diffuse(std::size_t columns, std::span<const double> from, std::span<double> to) {
  for (std::size_t row = 0; row < to.size() / columns; ++row) {
    const double* const above = from.data() + row * columns;
    const double* const here = above + columns;
    const double* const below = here + columns;
    double* const next = to.data() + row * columns;
    next[0] = next[columns - 1] = 0;
    for (std::size_t i = 1; i + 1 < columns; ++i) {
      next[i] = here[i] + kRatio * (here[i - 1] + here[i + 1] + above[i] + below[i] - 4 * here[i]);
    }
  }
}

/// This rank's rows, with a row of each neighbour before and after them.
class Field {
 public:
  Field(sublet::mpi::Allocator& workers, std::size_t points)
      : lease_(workers.lease()), columns_(points) {
    int rank = 0;
    int ranks = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    const auto of = static_cast<std::size_t>(ranks);
    const auto me = static_cast<std::size_t>(rank);
    const std::size_t inner = points - 2;
    first_ = 1 + inner * me / of;
    rows_ = 1 + inner * (me + 1) / of - first_;
    above_ = rank == 0 ? MPI_PROC_NULL : rank - 1;
    below_ = rank == ranks - 1 ? MPI_PROC_NULL : rank + 1;
    now_ = lease_.buffer<double>((rows_ + 2) * columns_).value_or_throw();
    next_ = lease_.buffer<double>((rows_ + 2) * columns_).value_or_throw();
    for (std::size_t row = 0; row < rows_ + 2; ++row) {
      for (std::size_t i = 0; i < columns_; ++i) {
        now_[row * columns_ + i] = next_[row * columns_ + i] = at_begin(row, i);
      }
    }
  }

  /// One step. `share`: of the inner rows, what the worker computes.
  void step(double share) {
    std::array<MPI_Request, 4> halo{};
    const int n = static_cast<int>(columns_);
    double* const rows = now_.data();
    MPI_Irecv(rows, n, MPI_DOUBLE, above_, 0, MPI_COMM_WORLD, &halo[0]);
    MPI_Irecv(rows + (rows_ + 1) * columns_, n, MPI_DOUBLE, below_, 1, MPI_COMM_WORLD, &halo[1]);
    MPI_Isend(rows + columns_, n, MPI_DOUBLE, above_, 1, MPI_COMM_WORLD, &halo[2]);
    MPI_Isend(rows + rows_ * columns_, n, MPI_DOUBLE, below_, 0, MPI_COMM_WORLD, &halo[3]);

    // Inner rows, 2 to rows_ - 1, need none of the neighbours'. The worker has the first of them.
    const std::size_t inner = rows_ > 2 ? rows_ - 2 : 0;
    const auto workers = static_cast<std::size_t>(share * static_cast<double>(inner));
    sublet::Async<void> call;
    if (workers > 0) {
      call = lease_
                 .async(diffuse, columns_, sublet::in(rows_of(now_, 1, workers + 2)),
                        sublet::out(rows_of(next_, 2, workers)))
                 .value_or_throw();
    }
    compute(2 + workers, inner - workers);
    while (!call.poll()) {  // both get on: messages and the call
      int arrived = 0;
      MPI_Testall(static_cast<int>(halo.size()), halo.data(), &arrived, MPI_STATUSES_IGNORE);
    }
    MPI_Waitall(static_cast<int>(halo.size()), halo.data(), MPI_STATUSES_IGNORE);
    if (call.valid()) call.get().value_or_throw();
    compute(1, 1);
    if (rows_ > 1) compute(rows_, 1);
    now_.swap(next_);
  }

  /// The largest difference on any rank from what the scheme gives after `steps`.
  [[nodiscard]] double error_after(int steps) const {
    const double h = std::numbers::pi / static_cast<double>(columns_ - 1);
    const double factor = std::pow(1 - 4 * kRatio * (1 - std::cos(h)), steps);
    double worst = 0;
    for (std::size_t row = 1; row <= rows_; ++row) {
      for (std::size_t i = 0; i < columns_; ++i) {
        worst = std::max(worst, std::abs(now_[row * columns_ + i] - factor * at_begin(row, i)));
      }
    }
    MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return worst;
  }

 private:
  [[nodiscard]] double at_begin(std::size_t row, std::size_t column) const {
    const double h = std::numbers::pi / static_cast<double>(columns_ - 1);
    const std::size_t y = first_ + row - 1;
    if (column == 0 || column == columns_ - 1 || y == 0 || y == columns_ - 1) return 0;
    return std::sin(h * static_cast<double>(column)) * std::sin(h * static_cast<double>(y));
  }
  [[nodiscard]] std::span<double> rows_of(sublet::Buffer<double>& field, std::size_t first,
                                          std::size_t count) const {
    return field.span().subspan(first * columns_, count * columns_);
  }
  void compute(std::size_t first, std::size_t count) {
    diffuse(columns_, rows_of(now_, first - 1, count + 2), rows_of(next_, first, count));
  }

  sublet::Lease& lease_;
  std::size_t columns_;
  std::size_t first_ = 0;  ///< Of all points' rows, the first of this rank's.
  std::size_t rows_ = 0;
  int above_ = MPI_PROC_NULL;
  int below_ = MPI_PROC_NULL;
  sublet::Buffer<double> now_;
  sublet::Buffer<double> next_;
};

/// Seconds for all steps, the slowest rank's.
double time_of(Field& field, int steps, double share) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  for (int i = 0; i < steps; ++i) field.step(share);
  double seconds = MPI_Wtime() - start;
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return seconds;
}

int run(std::size_t points, int steps) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  auto workers = sublet::mpi::Allocator::create(MPI_COMM_WORLD).value_or_throw();
  Field alone(workers, points);
  Field shared(workers, points);
  const double alone_s = time_of(alone, steps, 0);
  const double shared_s = time_of(shared, steps, 0.5);
  const double error = std::max(alone.error_after(steps), shared.error_after(steps));
  const bool right = error < kTolerance;
  if (rank == 0) {
    std::cout << points << " x " << points << " points, " << steps << " steps: ranks alone "
              << alone_s << " s, with workers " << shared_s << " s; error " << error
              << (right ? "" : ": WRONG") << '\n';
  }
  return right ? 0 : 1;
}

/// A whole number from the command line, `least` at the least.
int number(const char* text, int least, const std::string& what) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < least || value > 100'000) {
    throw std::invalid_argument("'" + std::string(text) + "' is no number of " + what + ": " +
                                std::to_string(least) + " to 100000");
  }
  return static_cast<int>(value);
}

}  // namespace

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  int points = 2000;
  int steps = 100;
  try {
    if (argc > 1) points = number(argv[1], 3, "points on a side");
    if (argc > 2) steps = number(argv[2], 1, "steps");
  } catch (const std::exception& error) {
    std::cerr << "heat: " << error.what() << '\n';
    return 2;
  }
  MPI_Init(&argc, &argv);
  int code = 1;
  try {
    code = run(static_cast<std::size_t>(points), steps);
  } catch (const std::exception& error) {
    std::cerr << "heat: " << error.what() << '\n';
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return code;
}
