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
inline constexpr int kExitNote = 6;         ///< `sublet doctor`: something could be better.
inline constexpr int kExitFault = 7;        ///< `sublet doctor`: something does not work.

struct ExitMeaning {
  int code;
  const char* meaning;
};
/// For `sublet --help` and the manual page.
inline constexpr ExitMeaning kExitMeanings[] = {
    {kExitOk, "done"},
    {kExitFailure, "failed; stderr says why"},
    {kExitUsage, "an option, an argument or a configuration file is wrong"},
    {kExitUnreachable, "no manager answered"},
    {kExitRefused, "a manager answered and refused"},
    {kExitNotDone, "a node that was to be drained has not left in order"},
    {kExitNote, "`sublet doctor`: something could be better, and nothing is wrong"},
    {kExitFault, "`sublet doctor`: something does not work"},
};

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
