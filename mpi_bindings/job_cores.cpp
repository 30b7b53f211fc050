#include "job_cores.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

namespace sublet::mpi {
namespace {

/// What a rank says of itself. Fixed size: one gather for all.
struct RankCores {
  std::array<char, 128> node;
  cpu_set_t processors;
};

cpu_set_t affinity_of(pid_t pid) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(pid, sizeof set, &set) != 0) CPU_ZERO(&set);
  return set;
}

RankCores this_rank() {
  RankCores mine{};
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  if (MPI_Get_processor_name(name.data(), &length) != MPI_SUCCESS) length = 0;
  const auto kept = std::min<std::size_t>(static_cast<std::size_t>(length), mine.node.size() - 1);
  std::memcpy(mine.node.data(), name.data(), kept);
  mine.processors = affinity_of(0);
  return mine;
}

/// Names the physical core of a processor by its first hardware thread; -1 when the system does not
/// say.
int core_of(int processor) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(processor) +
                     "/topology/thread_siblings_list");
  int first = -1;
  return file >> first ? first : -1;
}

std::string to_list(const cpu_set_t& set) {
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    list += (list.empty() ? "" : ",") + std::to_string(cpu);
  }
  return list;
}

}  // namespace

std::string JobCores::idle_list(std::uint64_t cores) const {
  std::set<int> ranks_cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &ranks)) ranks_cores.insert(core_of(cpu));
  }
  cpu_set_t idle;
  CPU_ZERO(&idle);
  std::set<int> idle_cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const int core = core_of(cpu);
    if (core < 0) return {};
    if (ranks_cores.contains(core)) continue;
    CPU_SET(cpu, &idle);
    idle_cores.insert(core);
  }
  return idle_cores.size() >= cores ? to_list(idle) : std::string();
}

JobCores gather_job_cores(MPI_Comm comm, Outcome& outcome) {
  JobCores job;
  CPU_ZERO(&job.ranks);
  CPU_ZERO(&job.allowed);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  const RankCores mine = this_rank();
  std::vector<RankCores> all;
  outcome.attempt("making room for the ranks' cores", [&]() -> Result<void> {
    if (rank == 0) all.resize(static_cast<std::size_t>(size));
    return {};
  });
  outcome.note_mpi(
      MPI_Gather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, 0, comm),
      "gathering the cores that the ranks are bound to");
  if (rank != 0 || !outcome.ok()) return job;
  for (const RankCores& other : all) {
    if (other.node == mine.node) CPU_OR(&job.ranks, &job.ranks, &other.processors);
  }
  // mpirun, its daemon or the batch system's: confined to what the job was given, and not to a
  // rank's core.
  const cpu_set_t launcher = affinity_of(::getppid());
  CPU_OR(&job.allowed, &job.ranks, &launcher);
  return job;
}

AffinityScope::AffinityScope(const cpu_set_t& processors) noexcept : before_(affinity_of(0)) {
  // The kernel leaves out what a cgroup forbids. Without success all goes on as before.
  changed_ = CPU_COUNT(&before_) > 0 && CPU_COUNT(&processors) > 0 &&
             sched_setaffinity(0, sizeof processors, &processors) == 0;
}

AffinityScope::~AffinityScope() {
  if (changed_) sched_setaffinity(0, sizeof before_, &before_);
}

}  // namespace sublet::mpi
