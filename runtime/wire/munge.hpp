#pragma once

// MUNGE, by which the daemons of one cluster say for whom a process runs. libmunge is loaded when
// it is first needed: an application does not depend on it. $SUBLET_MUNGE_SOCKET names munged's
// socket where it is not libmunge's default. munge.cpp is the only file that includes munge.h.

#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sublet::wire {

/// That libmunge is here and munged's socket too. kUnsupported says which is not.
Result<void> munge_available();

/// A credential of this process's user for `payload`. Asks munged: blocks, for some seconds when
/// that does not answer. kDenied with munged's reason.
Result<std::string> munge_encode(std::span<const unsigned char> payload);

struct MungeUser {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};
/// Whose credential it is, when it is for `payload` and has not been decoded here before. Blocks
/// like munge_encode. kDenied with the reason.
Result<MungeUser> munge_decode(const std::string& credential,
                               std::span<const unsigned char> payload);

}  // namespace sublet::wire
