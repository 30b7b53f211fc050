#pragma once

#include <base/system_text.hpp>
#include <sublet/result.hpp>

#include <cerrno>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>

namespace sublet::client {

/// Runs `body`, which returns a Result. A process at its limits of memory or threads gets an error
/// as for everything else, and no exception that it does not expect.
template <class Body>
std::invoke_result_t<Body> guarded(const char* attempted, Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::kOverloaded,
                std::string(attempted) + ": no memory: " + base::system_text(ENOMEM), ENOMEM);
  } catch (const std::system_error& error) {
    const int number = error.code().value();
    return fail(ErrorKind::kOverloaded, std::string(attempted) + ": " + base::start_text(number),
                number);
  }
}

}  // namespace sublet::client
