#include <sublet/result.hpp>
#include <sublet/status.hpp>

namespace sublet {

const char* to_string(Status status) noexcept {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kAgain:
      return "try again";
    case Status::kInvalid:
      return "invalid request";
    case Status::kUnknownFunction:
      return "unknown function";
    case Status::kOutputTooLarge:
      return "output too large";
    case Status::kFunctionError:
      return "function error";
    case Status::kException:
      return "exception";
    case Status::kCrashed:
      return "crashed";
    case Status::kExited:
      return "exited";
    case Status::kTimedOut:
      return "timed out";
    case Status::kLost:
      return "lost";
    case Status::kClosed:
      return "closed";
    case Status::kDeadline:
      return "deadline passed";
    case Status::kDenied:
      return "denied";
  }
  return "unknown status";
}

const char* to_string(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::kInvalid:
      return "invalid";
    case ErrorKind::kOverloaded:
      return "overloaded";
    case ErrorKind::kDisconnected:
      return "disconnected";
    case ErrorKind::kDenied:
      return "denied";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kInternal:
      return "internal";
    case ErrorKind::kNoInit:
      return "sublet::init was not called in time";
    case ErrorKind::kNoApplication:
      return "the program is no application of Sublet";
    case ErrorKind::kTooLarge:
      return "too large";
    case ErrorKind::kOtherBuild:
      return "another build of a shared object";
    case ErrorKind::kAmbiguous:
      return "two functions have one name";
    case ErrorKind::kStaticProgram:
      return "the program is linked statically";
  }
  return "unknown error";
}

}  // namespace sublet
