#pragma once

#include <sublet/result.hpp>

#include <cstdint>

namespace sublet::base {

/// The group of the account on this node that a lease's owner has. kDenied: he has none. Blocks
/// where accounts are looked up over a network.
Result<std::uint32_t> group_of_account(std::uint32_t uid);

}  // namespace sublet::base
