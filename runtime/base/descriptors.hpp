#pragma once

#include <span>

// What a process that runs for another one does with the descriptors it was started with.
namespace sublet::base {

/// Closes every descriptor but 0, 1, 2 and `keep` (16 at most).
void close_all_but(std::span<const int> keep) noexcept;

/// Descriptors 0 to 2 must be taken, or a socket would become somebody's standard output. False
/// when the system refuses.
[[nodiscard]] bool open_standard_descriptors() noexcept;

/// Standard input is empty from now on.
void read_nothing() noexcept;

}  // namespace sublet::base
