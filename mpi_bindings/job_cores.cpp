#include "job_cores.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <vector>

namespace sublet::mpi {
namespace {

/// What a rank says of itself. Fixed size: one gather for all.
struct RankCores {
  std::array<char, 128> node;
  cpu_set_t processors;
  HolderKey holder;
};

RankCores this_rank(const HolderKey& holder) {
  RankCores mine{};
  mine.holder = holder;
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  if (MPI_Get_processor_name(name.data(), &length) != MPI_SUCCESS) length = 0;
  const auto kept = std::min<std::size_t>(static_cast<std::size_t>(length), mine.node.size() - 1);
  std::memcpy(mine.node.data(), name.data(), kept);
  if (sched_getaffinity(0, sizeof mine.processors, &mine.processors) != 0) {
    CPU_ZERO(&mine.processors);
  }
  return mine;
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

JobCores gather_job_cores(MPI_Comm comm, const HolderKey& holder, Outcome& outcome) {
  JobCores job;
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  const RankCores mine = this_rank(holder);
  // Needed whatever has failed before: the other ranks send theirs.
  std::vector<RankCores> all(rank == 0 ? static_cast<std::size_t>(size) : 0);
  outcome.note_mpi(
      MPI_Gather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, 0, comm),
      "gathering the cores that the ranks are bound to");
  if (rank != 0 || !outcome.ok()) return job;
  std::set<std::string> nodes;
  cpu_set_t ranks;
  CPU_ZERO(&ranks);
  for (const RankCores& other : all) {
    nodes.emplace(other.node.data());
    job.holders.push_back(other.holder);
    if (other.node == mine.node) CPU_OR(&ranks, &ranks, &other.processors);
  }
  job.nodes = nodes.size();
  job.ranks = to_list(ranks);
  return job;
}

}  // namespace sublet::mpi
