#pragma once

#include <wire/manager_address.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace sublet::wire {

/// Of several "tcp:HOST:PORT" of one listener, the one that takes a connection first; the first of
/// all when none does within `limit`. Looks up names, and waits: not for an event loop.
std::string reachable_address(const std::vector<std::string>& addresses,
                              std::chrono::milliseconds limit);

/// A manager whose file names its host, and the host's addresses for those who do not know the
/// name: by the one that leads there from here. Waits a moment when there are several.
ManagerLocation location_of(const ManagerAddressFile& file);

}  // namespace sublet::wire
