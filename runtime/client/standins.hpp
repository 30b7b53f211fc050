#pragma once

#include <client/functions.hpp>
#include <client/node_link.hpp>
#include <client/worker_link.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace sublet::client {

/// Cores of other nodes, with everything that calls need there.
struct Standins {
  std::vector<std::unique_ptr<NodeLink>> nodes;
  std::size_t functions = 0;  ///< So many are open there.
  struct Worker {
    std::size_t node = 0;
    std::uint32_t worker_on_node = 0;
    Route route;
    std::optional<transport::AnyClientChannel> channel;
  };
  std::vector<Worker> workers;
};

/// Opens all functions on the nodes of `found` and connects to `most` workers there.
Result<Standins> prepare(Standins found, std::size_t most, const Functions& functions,
                         const Timeouts& timeouts, const std::shared_ptr<transport::Arena>& arena);

}  // namespace sublet::client
