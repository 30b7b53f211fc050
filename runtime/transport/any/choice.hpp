#pragma once

// Which transport a client uses to reach an executor.

#include <sublet/result.hpp>
#include <transport/any/kind.hpp>
#include <transport/setup.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::transport {

/// Where an executor takes data connections, and what it asks for.
struct Endpoint {
  struct Address {
    Kind kind{};
    std::string text;  ///< ConnectOptions::address.
  };
  std::uint32_t generation = 0;
  std::vector<Address> addresses;
  /// Why it has no address of other transports that were asked for; for people.
  std::vector<std::string> refusals;
  Token token{};

  /// An address of the transport with that name; one that this build does not know is left out.
  /// `host` is what "*" in place of a host stands for.
  void add(const std::string& name, std::string address, const std::string& host);
  /// The address for clients on the executor's own node.
  void add_local(std::string address);
};

/// Which transports a client would use to an executor, best first, and why; and why not the others.
struct Preference {
  std::vector<Kind> kinds;
  std::string reasons;  ///< For people: the debug log and `sublet doctor`.
};

/// `wanted` names one transport, or is empty: then the same node is reached by the transport for
/// that, another one by those that their rows recommend here, in the order of the table. kInvalid
/// for a name that is no transport.
Result<Preference> prefer(bool same_node, const std::string& wanted);

/// The first preferred transport that the executor has an address of, or kUnsupported with what was
/// asked for and found.
Result<Endpoint::Address> choose(const Endpoint& endpoint, const Preference& preference);

}  // namespace sublet::transport
