// sublet-mpi-pingpong: the round trip of MPI_Send and MPI_Recv between two ranks, for
// `sublet bench latency --compare`. Sampled as that benchmark samples its own calls: the mean of
// some round trips between two looks at the clock. Writes a JSON array to standard output, the p50
// in us for each size.
//
//   mpirun -n 2 --bind-to none sublet-mpi-pingpong --sizes 8,1024 --calls-per-sample 64,16 --cpus
//   0,1

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int kTag = 1;
constexpr int kMaxSize = 64 << 20;
constexpr auto kTimePerSize = 500ms;
constexpr std::size_t kLeastSamples = 10;
constexpr int kWarmup = 200;

bool parse_list(std::string_view text, int max, std::vector<int>& values) {
  values.clear();
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int value = -1;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc{} || value < 0 || value > max) return false;
    values.push_back(value);
    if (next == end) return true;
    if (*next != ',') return false;
    at = next + 1;
  }
}

struct Options {
  std::vector<int> sizes;
  std::vector<int> calls_per_sample;
  std::vector<int> cpus;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string_view value = argv[i + 1];
    if (name == "--sizes" && parse_list(value, kMaxSize, options.sizes)) continue;
    if (name == "--calls-per-sample" && parse_list(value, 1 << 16, options.calls_per_sample)) {
      continue;
    }
    if (name == "--cpus" && parse_list(value, CPU_SETSIZE - 1, options.cpus)) continue;
    return false;
  }
  return argc % 2 == 1 && !options.sizes.empty() && options.cpus.size() == 2 &&
         options.calls_per_sample.size() == options.sizes.size() &&
         std::find(options.calls_per_sample.begin(), options.calls_per_sample.end(), 0) ==
             options.calls_per_sample.end();
}

bool pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  return ::sched_setaffinity(0, sizeof(set), &set) == 0;
}

/// Rank 0: one round trip. Rank 1 answers until a message of another tag ends it.
void round_trip(std::vector<char>& out, std::vector<char>& in) {
  MPI_Send(out.data(), static_cast<int>(out.size()), MPI_BYTE, 1, kTag, MPI_COMM_WORLD);
  MPI_Recv(in.data(), static_cast<int>(in.size()), MPI_BYTE, 1, kTag, MPI_COMM_WORLD,
           MPI_STATUS_IGNORE);
}

double measure_us(int size, int calls) {
  std::vector<char> out(static_cast<std::size_t>(size), 1);
  std::vector<char> in(static_cast<std::size_t>(size));
  for (int i = 0; i < kWarmup; ++i) round_trip(out, in);
  std::vector<double> samples;
  const auto start = Clock::now();
  while (samples.size() < kLeastSamples || Clock::now() - start < kTimePerSize) {
    const auto before = Clock::now();
    for (int i = 0; i < calls; ++i) round_trip(out, in);
    const std::chrono::duration<double, std::micro> took = Clock::now() - before;
    samples.push_back(took.count() / calls);
  }
  MPI_Send(nullptr, 0, MPI_BYTE, 1, kTag + 1, MPI_COMM_WORLD);
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>((samples.size() - 1) / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

void answer(int size) {
  std::vector<char> buffer(static_cast<std::size_t>(size));
  for (;;) {
    MPI_Status status;
    MPI_Recv(buffer.data(), size, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
    if (status.MPI_TAG != kTag) return;
    MPI_Send(buffer.data(), size, MPI_BYTE, 0, kTag, MPI_COMM_WORLD);
  }
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  Options options;
  if (ranks != 2 || !parse(argc, argv, options)) {
    if (rank == 0) {
      std::fputs(
          "usage: mpirun -n 2 sublet-mpi-pingpong --sizes LIST --calls-per-sample LIST "
          "--cpus A,B\n",
          stderr);
    }
    MPI_Finalize();
    return 2;
  }
  const int cpu = options.cpus[static_cast<std::size_t>(rank)];
  if (!pin(cpu)) {
    std::fprintf(stderr, "sublet-mpi-pingpong: rank %d cannot be bound to core %d\n", rank, cpu);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  std::string json;
  for (std::size_t i = 0; i < options.sizes.size(); ++i) {
    if (rank == 1) {
      answer(options.sizes[i]);
      continue;
    }
    const double us = measure_us(options.sizes[i], options.calls_per_sample[i]);
    json += (json.empty() ? "[" : ",") + std::to_string(us);
  }
  if (rank == 0) std::printf("%s]\n", json.c_str());
  MPI_Finalize();
  return 0;
}
