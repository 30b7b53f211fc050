// Offloads until it is killed, or told by SIGUSR1 to abort the job: for kill_rank.sh, which reads
// the ranks' process ids from the FIFO that is the only argument.

#include <sublet/mpi.hpp>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iostream>
#include <vector>

namespace {

std::atomic<bool> g_abort{false};

/// The net under a test that fails to kill us.
constexpr auto kLongest = std::chrono::seconds(60);

void offload(const char* fifo) {
  sublet::mpi::AllocatorOptions options;
  options.session = sublet::SessionOptions::load().value_or_throw();
  options.session.private_oversubscribe = 16;
  options.arena_bytes = std::uint64_t{64} << 20;
  auto workers = sublet::mpi::Allocator::create(MPI_COMM_WORLD, options).value_or_throw();
  auto twice =
      workers.lease().function<double(double)>(SUBLET_TEST_FUNCTIONS, "twice").value_or_throw();
  (void)twice(1).value_or_throw();

  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const int pid = ::getpid();
  std::vector<int> pids(static_cast<std::size_t>(size));
  MPI_Gather(&pid, 1, MPI_INT, pids.data(), 1, MPI_INT, 0, MPI_COMM_WORLD);
  if (rank == 0) {
    std::ofstream ready(fifo);
    for (const int each : pids) ready << each << '\n';
  }
  const auto end = std::chrono::steady_clock::now() + kLongest;
  while (std::chrono::steady_clock::now() < end) {
    (void)twice(1).value_or_throw();
    if (g_abort) MPI_Abort(MPI_COMM_WORLD, 3);
    MPI_Barrier(MPI_COMM_WORLD);
  }
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  std::signal(SIGUSR1, [](int) { g_abort = true; });
  try {
    if (argc != 2) throw std::runtime_error("usage: victim FIFO");
    offload(argv[1]);
  } catch (const std::exception& error) {
    std::cerr << "victim: " << error.what() << '\n';
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
