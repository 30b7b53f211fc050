#pragma once

// Small helpers around KJ's promises.

#include <base/printable_text.hpp>
#include <wire/running_time.hpp>

#include <kj/async.h>
#include <kj/debug.h>
#include <kj/timer.h>

#include <chrono>
#include <string>
#include <utility>

namespace sublet::manager {

inline kj::Duration to_kj(std::chrono::nanoseconds duration) {
  return duration.count() * kj::NANOSECONDS;
}

/// What an exception says, without the place in the code where it was thrown. It may be a peer's.
inline std::string text_of(const kj::Exception& exception) {
  const auto description = exception.getDescription();
  std::string text = base::printable({description.begin(), description.size()});
  constexpr const char* kRemote = "remote exception: ";
  return text.starts_with(kRemote) ? text.substr(std::char_traits<char>::length(kRemote)) : text;
}

/// `promise`, or an exception of type OVERLOADED that names `what` when `limit` ends first. The
/// promise is then dropped, which cancels what it waits for.
template <class T>
kj::Promise<T> within(kj::Timer& timer, std::chrono::nanoseconds limit, kj::Promise<T> promise,
                      std::string what) {
  auto late = wire::after_running(timer, limit).then([what = std::move(what), limit]() -> T {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
    kj::throwFatalException(
        KJ_EXCEPTION(OVERLOADED, kj::str(what.c_str(), " took longer than ", ms, " ms")));
  });
  return promise.exclusiveJoin(kj::mv(late));
}

}  // namespace sublet::manager
