// Functions are no part of an MPI job. An MPI library that a function calls, itself or through
// another library, would find the job of the rank that has started the private manager in the
// environment, take that rank's place in it, and neither mpirun nor the rank would ever end.

#include <executor/no_mpi.hpp>

#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

extern char** environ;

namespace sublet::executor {
namespace {

/// Of Open MPI and PRRTE, MPICH and its kin, PMI and PMIx, Slurm, Flux and PALS.
constexpr std::array<std::string_view, 16> kJobVariables = {
    "PMIX_", "PMI_",     "PMI2_",     "OMPI_",     "OPAL_",        "ORTE_",  "PRTE_", "HYDRA_",
    "HYDI_", "MPIEXEC_", "MPI_LOCAL", "MV2_COMM_", "I_MPI_HYDRA_", "SLURM_", "FLUX_", "PALS_"};

}  // namespace

void leave_job() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    for (const std::string_view prefix : kJobVariables) {
      if (variable.starts_with(prefix)) names.emplace_back(variable.substr(0, variable.find('=')));
    }
  }
  for (const std::string& name : names) ::unsetenv(name.c_str());
}

namespace {

[[noreturn]] void refuse(const char* call) {
  throw std::runtime_error(
      std::string(call) +
      ": functions run outside the MPI job of their caller and cannot use MPI; pass the data as "
      "input and output, and communicate in the ranks");
}

}  // namespace
}  // namespace sublet::executor

// The dynamic linker finds these before those of any MPI library, as they are the program's own.
#define SUBLET_NO_MPI(call)                                 \
  extern "C" [[gnu::visibility("default")]] int call(...) { \
    sublet::executor::refuse(#call);                        \
  }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-declarations"
SUBLET_NO_MPI(MPI_Init)
SUBLET_NO_MPI(MPI_Init_thread)
SUBLET_NO_MPI(MPI_Session_init)
SUBLET_NO_MPI(PMPI_Init)
SUBLET_NO_MPI(PMPI_Init_thread)
SUBLET_NO_MPI(PMPI_Session_init)
#pragma GCC diagnostic pop
