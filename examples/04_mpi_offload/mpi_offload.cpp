// Each rank leases a worker, gives it half of its vector, does the other half itself at the same
// time, and MPI adds up the ranks.
//
//   mpirun -n 2 mpi_offload [LIBRARY]
//
// With SUBLET_TRACE=true it writes a timeline, mpi_offload.json.

#include <sublet/mpi.hpp>

#include <cmath>
#include <iostream>
#include <numeric>

namespace {

constexpr std::size_t kElements = 200'000;  // of each rank

/// The norm of the vector that is spread over the ranks of MPI_COMM_WORLD.
double offloaded_norm(sublet::Lease& lease, const char* library, int rank) {
  auto sum_of_squares = lease.function(library, "sum_of_squares").value_or_throw();

  // In the arena: the worker reads it where it is.
  auto values = lease.buffer<double>(kElements).value_or_throw();
  std::iota(values.begin(), values.end(), static_cast<double>(rank) * kElements);

  constexpr std::size_t kHalf = kElements / 2;
  double theirs = 0;
  sublet::Call call =
      sum_of_squares.async(values.data(), kHalf * sizeof(double), &theirs, sizeof theirs);
  const double ours =
      std::inner_product(values.begin() + kHalf, values.end(), values.begin() + kHalf, 0.0);
  if (!call.wait().ok()) throw sublet::Error(sublet::ErrorKind::kDisconnected, call.error());

  const double mine = ours + theirs;
  double total = 0;
  MPI_Allreduce(&mine, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  return std::sqrt(total);
}

int run(int& argc, char** argv) {
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);

  sublet::mpi::AllocatorOptions options;
  options.session = sublet::SessionOptions::load(&argc, argv).value_or_throw();
  // Collective. What goes wrong anywhere is the same error everywhere, so all ranks stop together.
  auto created = sublet::mpi::Allocator::create(MPI_COMM_WORLD, options);
  if (!created) {
    if (rank == 0) std::cerr << "mpi_offload: " << created.error().what() << '\n';
    return 1;
  }
  auto& lease = created->lease();
  const double norm = offloaded_norm(lease, argc > 1 ? argv[1] : MPI_OFFLOAD_FUNCTIONS, rank);

  const double n = static_cast<double>(kElements) * ranks;
  const double expected = std::sqrt((n - 1) * n * (2 * n - 1) / 6);
  const bool right = std::abs(norm / expected - 1) < 1e-12;
  const auto usage = created->usage().value_or_throw();
  if (options.session.trace) created->write_trace("mpi_offload.json").value_or_throw();
  if (rank == 0) {
    std::cout << ranks << (ranks == 1 ? " rank" : " ranks") << ", norm " << norm << ": "
              << (right ? "right" : "wrong") << "; " << usage.invocations
              << " calls were offloaded\n";
  }
  return right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int code = 1;
  try {
    code = run(argc, argv);
  } catch (const sublet::Error& error) {
    // On this rank only: the others may be waiting for it.
    std::cerr << "mpi_offload: " << error.what() << '\n';
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return code;
}
