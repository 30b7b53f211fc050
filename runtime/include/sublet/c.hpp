#pragma once

#include <sublet/export.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>

#include <cxxabi.h>
#include <sublet.h>

#include <utility>

/// For C++ that meets the C interface: programs that use both, and bindings built on it.
namespace sublet::c {

/// Handles for C; whoever gets one frees it (sublet_session_free, sublet_lease_free). Throw
/// std::bad_alloc.
[[nodiscard]] SUBLET_API sublet_session* make_handle(Session session);
[[nodiscard]] SUBLET_API sublet_lease* make_handle(Lease lease);

/// What a handle for C, which must not be null, stands for.
[[nodiscard]] SUBLET_API const Function& function_of(const sublet_function* function) noexcept;

/// What file and environment say, with what has been set in `options` in its place. Null: nothing.
[[nodiscard]] SUBLET_API Result<SessionOptions> session_options(const sublet_options* options);
/// The defaults, with what has been set in `options` in their place. Null: nothing.
[[nodiscard]] SUBLET_API LeaseRequest lease_request(const sublet_options* options);

/// The codes that C has for these.
[[nodiscard]] SUBLET_API int code_of(Status status) noexcept;
[[nodiscard]] SUBLET_API int code_of(ErrorKind kind) noexcept;

// ---- Each makes its text the last error of this thread, and returns the code. ----

SUBLET_API int failed(const Error& error) noexcept;
/// Within a catch block: of the exception there.
SUBLET_API int failed_with_exception(const char* attempted) noexcept;

/// Runs `body`, which returns a Result<void>. Nothing is thrown into C, except the unwinding of a
/// thread that is being cancelled.
template <class Body>
int guarded(const char* attempted, Body&& body) {
  try {
    const Result<void> done = std::forward<Body>(body)();
    return done ? SUBLET_SUCCESS : failed(done.error());
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return failed_with_exception(attempted);
  }
}

}  // namespace sublet::c
