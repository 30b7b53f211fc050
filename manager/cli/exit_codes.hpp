#pragma once

#include <sublet/result.hpp>

namespace sublet::cli {

// Documented in docs/reference/exit-codes.md and by `sublet --help`; never change a meaning.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;        ///< An option, argument or configuration is wrong.
inline constexpr int kExitUnreachable = 3;  ///< No manager answered.
inline constexpr int kExitRefused = 4;      ///< A manager answered, and said no.
inline constexpr int kExitNotDone = 5;      ///< What was ordered and waited for did not come about.

/// For an error in talking to a manager.
constexpr int exit_code(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::kDisconnected:
      return kExitUnreachable;
    case ErrorKind::kDenied:
    case ErrorKind::kOverloaded:
      return kExitRefused;
    case ErrorKind::kInvalid:
      return kExitUsage;
    case ErrorKind::kUnsupported:
    case ErrorKind::kInternal:
    case ErrorKind::kNoInit:
    case ErrorKind::kNoApplication:
    case ErrorKind::kTooLarge:
    case ErrorKind::kOtherBuild:
    case ErrorKind::kAmbiguous:
    case ErrorKind::kStaticProgram:
      return kExitFailure;
  }
  return kExitFailure;
}

}  // namespace sublet::cli
