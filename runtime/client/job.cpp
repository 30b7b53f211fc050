#include <client/job.hpp>

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace sublet::client {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// The system uses process numbers again: the start time tells two processes of one number apart.
std::string process_name(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  // Behind the name, which may have spaces and brackets: the state, and 18 fields on the start.
  std::size_t at = stat.rfind(')');
  for (int field = 0; field < 20 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  const std::string start = at == std::string::npos
                                ? std::string()
                                : stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
  return "process " + std::to_string(pid) + " " + start;
}

}  // namespace

Job find_job() {
  // Open MPI, PRRTE, and srun --mpi=pmix.
  if (const auto space = variable("PMIX_NAMESPACE"); !space.empty()) return {"pmix " + space, true};
  if (const auto step = variable("SLURM_STEP_ID"); !step.empty()) {
    return {"slurm " + variable("SLURM_JOB_ID") + "." + step, true};
  }
  // MPICH and its kin: one process launches all ranks of a node.
  if (!variable("PMI_RANK").empty()) return {"ranks of " + process_name(::getppid()), true};
  return {process_name(::getpid()), false};
}

const Job& this_job() {
  static const Job job = find_job();
  return job;
}

}  // namespace sublet::client
