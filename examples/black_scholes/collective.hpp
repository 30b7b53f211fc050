#pragma once

// A little help with MPI_COMM_WORLD: failing together, and gathering what differs in length.

#include <mpi.h>

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace black_scholes {

/// Thrown by together() on every rank, with one text: no rank waits for another that gave up.
class CollectiveFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Collective: runs `step`, which sends no messages, on every rank. When it throws on any of them,
/// all throw CollectiveFailure with what the lowest of those said.
void together(const std::function<void()>& step);

/// Collective: one text of each rank, at rank 0.
std::vector<std::string> gather(const std::string& mine);

/// Collective: all ranks' samples one after the other, at rank 0.
std::vector<float> gather(const std::vector<float>& mine);

}  // namespace black_scholes
