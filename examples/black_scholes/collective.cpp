#include "collective.hpp"

#include <cstddef>

namespace black_scholes {
namespace {

template <class T>
std::vector<T> gather_all(const T* mine, std::size_t count, MPI_Datatype type,
                          std::vector<int>& counts) {
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  counts.resize(static_cast<std::size_t>(size));
  const int own = static_cast<int>(count);
  MPI_Gather(&own, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, MPI_COMM_WORLD);
  std::vector<int> offsets;
  int total = 0;
  for (const int n : counts) {
    offsets.push_back(total);
    total += n;
  }
  std::vector<T> all(rank == 0 ? static_cast<std::size_t>(total) : 0);
  MPI_Gatherv(mine, own, type, all.data(), counts.data(), offsets.data(), type, 0, MPI_COMM_WORLD);
  return all;
}

}  // namespace

void together(const std::function<void()>& step) {
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  std::string text;
  bool failed = false;
  try {
    step();
  } catch (const std::exception& error) {
    failed = true;
    text = error.what();
  }
  const int mine = failed ? rank : size;
  int lowest = size;
  MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (lowest == size) return;

  int length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, lowest, MPI_COMM_WORLD);
  text.resize(static_cast<std::size_t>(length));
  MPI_Bcast(text.data(), length, MPI_CHAR, lowest, MPI_COMM_WORLD);
  throw CollectiveFailure(text);
}

std::vector<std::string> gather(const std::string& mine) {
  std::vector<int> counts;
  const std::vector<char> all = gather_all(mine.data(), mine.size(), MPI_CHAR, counts);
  std::vector<std::string> texts;
  if (all.empty()) return std::vector<std::string>(counts.size());
  std::size_t at = 0;
  for (const int n : counts) {
    texts.emplace_back(&all[at], static_cast<std::size_t>(n));
    at += static_cast<std::size_t>(n);
  }
  return texts;
}

std::vector<float> gather(const std::vector<float>& mine) {
  std::vector<int> counts;
  return gather_all(mine.data(), mine.size(), MPI_FLOAT, counts);
}

}  // namespace black_scholes
