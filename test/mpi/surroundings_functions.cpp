// What the ranks offload to see what a function has of the rank's surroundings.

#include <sublet/function.hpp>

#include <mpi.h>

#include <array>
#include <cfenv>
#include <string_view>
#include <utility>

extern char** environ;

namespace {

struct Pair {
  double a, b;
};

}  // namespace

SUBLET_FUNCTION(join_job, int, int& rank) {
  MPI_Init(nullptr, nullptr);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
}

SUBLET_FUNCTION(count_job_variables, int, int& count) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    for (const char* prefix : {"PMIX_", "OMPI_", "PMI_", "SLURM_"}) {
      if (variable.starts_with(prefix)) ++count;
    }
  }
}

// By value, and with commas in the types.
SUBLET_FUNCTION(add, Pair pair, double& sum) {
  sum = pair.a + pair.b;
}
SUBLET_FUNCTION(swap_pair, const std::array<double, 2>& in, std::array<double, 2>& out) {
  out = {in[1], in[0]};
}

SUBLET_FUNCTION(round_up, int, int& failed) {
  failed = std::fesetround(FE_UPWARD);
}
SUBLET_FUNCTION(rounding, int, int& mode) {
  mode = std::fegetround();
}
