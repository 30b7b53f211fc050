#include <client/guarded.hpp>
#include <sublet/version.hpp>

#include <c/error.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

namespace sublet::c {
namespace {

/// Of this thread. It has a place of its own: that it has to be said must not fail.
thread_local constinit std::array<char, 2048> last_error{};

void note(std::string_view text) noexcept {
  constexpr std::string_view kCut = "...";
  const std::size_t most = last_error.size() - 1;
  const std::size_t length = std::min(text.size(), most);
  std::memmove(last_error.data(), text.data(), length);
  if (text.size() > most) std::memcpy(&last_error[most - kCut.size()], kCut.data(), kCut.size());
  last_error[length] = '\0';
}

/// For texts put together from parts: without memory, the code's own words have to do.
template <class Compose>
int failed_with(int code, Compose&& compose) noexcept {
  try {
    note(compose());
  } catch (const std::bad_alloc&) {
    note(sublet_error_string(code));
  }
  return code;
}

}  // namespace

int failed(int code, const std::string& text) noexcept {
  note(text);
  return code;
}

int failed(const Error& error) noexcept {
  note(error.what());
  return code_of(error.kind());
}

int failed_with_exception(const char* attempted) noexcept {
  try {
    // Memory and threads that have run out are told as everywhere else.
    const Result<void> nothing = client::guarded(attempted, []() -> Result<void> { throw; });
    return failed(nothing.error());
  } catch (const Error& error) {
    return failed(error);
  } catch (const std::exception& error) {
    return failed_with(SUBLET_ERR_INTERNAL,
                       [&] { return std::string(attempted) + ": " + error.what(); });
  } catch (...) {
    return failed_with(SUBLET_ERR_INTERNAL,
                       [&] { return std::string(attempted) + ": an exception of unknown type"; });
  }
}

int null_handle(const char* what) noexcept {
  return failed_with(SUBLET_ERR_HANDLE, [&] {
    return std::string("the handle of the ") + what +
           " is null: it was never opened, or has been freed";
  });
}

int null_pointer(const char* what) noexcept {
  return failed_with(SUBLET_ERR_ARGUMENT,
                     [&] { return std::string("the pointer '") + what + "' is null"; });
}

int bad_count(const char* what, std::intmax_t found) noexcept {
  return failed_with(SUBLET_ERR_COUNT, [&] {
    return std::string("'") + what + "' must not be " + std::to_string(found);
  });
}

int bad_size(const char* what, std::size_t found) noexcept {
  return failed_with(SUBLET_ERR_COUNT, [&] {
    return std::string("'") + what + "' is " + std::to_string(found) +
           " bytes; no memory is so large, and negative numbers become such sizes";
  });
}

int code_of(Status status) noexcept {
  static_assert(SUBLET_ERR_AGAIN == -static_cast<int>(Status::kAgain));
  static_assert(SUBLET_ERR_REFUSED == -static_cast<int>(Status::kDenied));
  return -static_cast<int>(status);
}

int code_of(ErrorKind kind) noexcept {
  static_assert(SUBLET_ERR_INVALID - static_cast<int>(ErrorKind::kInternal) == SUBLET_ERR_INTERNAL);
  static_assert(SUBLET_ERR_INVALID - static_cast<int>(kLastErrorKind) == SUBLET_ERR_STATIC_PROGRAM);
  return SUBLET_ERR_INVALID - static_cast<int>(kind);
}

}  // namespace sublet::c

namespace {

constexpr const char* kUnknown = "unknown code of Sublet";

const char* words(int code) noexcept {
  if (code <= SUBLET_SUCCESS && code >= SUBLET_ERR_REFUSED) {
    return to_string(static_cast<sublet::Status>(-code));
  }
  if (code <= SUBLET_ERR_INVALID && code >= SUBLET_ERR_STATIC_PROGRAM) {
    return to_string(static_cast<sublet::ErrorKind>(SUBLET_ERR_INVALID - code));
  }
  switch (code) {
    case SUBLET_ERR_HANDLE:
      return "null handle";
    case SUBLET_ERR_ARGUMENT:
      return "null pointer";
    case SUBLET_ERR_COUNT:
      return "invalid number or size";
    case SUBLET_ERR_OPTION:
      return "invalid option";
    case SUBLET_ERR_COMM:
      return "invalid communicator";
    case SUBLET_ERR_COMM_FREED:
      return "the communicator has been freed";
    case SUBLET_ERR_INTERCOMM:
      return "intercommunicator";
    case SUBLET_ERR_NOT_INITIALIZED:
      return "MPI is not initialised";
    case SUBLET_ERR_FINALIZED:
      return "MPI has been finalised";
    case SUBLET_ERR_OTHER_RANK:
      return "invalid arguments on another rank";
    case SUBLET_ERR_OTHER_MPI:
      return "another MPI runs than the one that Sublet's MPI layer is built for";
    case SUBLET_ERR_NOT_CANCELLED:
      return "a call that has begun cannot be cancelled";
    case SUBLET_ERR_DIFFER:
      return "arguments differ between ranks";
    case SUBLET_ERR_TYPE:
      return "unusable datatype";
    case SUBLET_ERR_UNDER_WAY:
      return "the call is under way";
    default:
      return kUnknown;
  }
}

}  // namespace

const char* sublet_error_string(int code) {
  return words(code);
}

const char* sublet_last_error(void) {
  return sublet::c::last_error.data();
}

int sublet_set_last_error(int code, const char* text) {
  sublet::c::note(text == nullptr ? sublet_error_string(code) : text);
  return code;
}

const char* sublet_version(void) {
  return SUBLET_VERSION;
}
