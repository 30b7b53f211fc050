#pragma once

#include <wire/transport_kind.hpp>

namespace sublet::transport {

using Kind = wire::TransportKind;

}  // namespace sublet::transport
