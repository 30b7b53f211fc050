#pragma once

#include <transport/any/kind.hpp>

#include <string>
#include <vector>

namespace sublet::transport {

/// Whether this node can use a transport, for people.
struct TransportState {
  Kind kind{};
  bool usable = false;
  bool locks_memory = false;  ///< The limit on locked memory applies to it.
  std::string text;           ///< What it would use, or why it cannot.
};

/// All transports of this build.
std::vector<TransportState> transport_states();

}  // namespace sublet::transport
