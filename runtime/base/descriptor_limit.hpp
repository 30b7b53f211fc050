#pragma once

#include <cstddef>

namespace sublet::base {

/// How many descriptors this process may have open.
std::size_t descriptor_limit() noexcept;

/// How many it has open; 0: that cannot be told.
std::size_t open_descriptors() noexcept;

/// Raises the limit as far as it may be raised without privileges; what it is now. The processes
/// that this one starts inherit it.
std::size_t raise_descriptor_limit() noexcept;

}  // namespace sublet::base
