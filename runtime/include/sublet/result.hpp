#pragma once

// The one place that names tl::expected, so that std::expected can replace it.

#include <sublet/export.hpp>

#include <tl/expected.hpp>

#include <stdexcept>
#include <string>
#include <utility>

namespace sublet {

/// Named for what the caller should do about it.
enum class ErrorKind : unsigned char {
  kInvalid,       ///< Correct the arguments: the same call will fail again.
  kOverloaded,    ///< Wait or ask for less: resources are in use now.
  kDisconnected,  ///< Reconnect or choose another peer: it went away or did not answer in time.
  kDenied,        ///< Present other credentials.
  kUnsupported,   ///< Use another way: this build or this machine cannot do it.
  kInternal,      ///< Report it: Sublet broke a promise of its own.
  // What is wrong with a program, or a function library, that is to run on workers.
  kNoInit,         ///< Call sublet::init first of all in main().
  kNoApplication,  ///< Link the program to libsublet: executors cannot run it as it is.
  kTooLarge,       ///< Strip it: it has more bytes than executors take.
  kOtherBuild,     ///< Install the same build of a shared object on all nodes.
  kAmbiguous,      ///< Rename one of two different functions that have one name.
  kStaticProgram,  ///< Link it dynamically: executors cannot take the place of its main().
};
inline constexpr ErrorKind kLastErrorKind = ErrorKind::kStaticProgram;

/// The kind that a number from elsewhere stands for; kInternal when it stands for none.
[[nodiscard]] constexpr ErrorKind error_kind_from(unsigned number) noexcept {
  return number <= static_cast<unsigned>(kLastErrorKind) ? static_cast<ErrorKind>(number)
                                                         : ErrorKind::kInternal;
}

[[nodiscard]] SUBLET_API const char* to_string(ErrorKind kind) noexcept;

/// What was attempted, what was found, and what to do, in one sentence; with errno where a system
/// call decided it (0 otherwise). A value: copy it, keep it, throw it.
class SUBLET_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& text, int system_errno = 0)
      : std::runtime_error(text), kind_(kind), errno_(system_errno) {}

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  [[nodiscard]] int system_errno() const noexcept { return errno_; }

 private:
  ErrorKind kind_;
  int errno_;
};

/// A value or the Error that explains its absence. Must be looked at.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;

  /// The value; throws the Error itself (not a wrapper) when there is none.
  decltype(auto) value_or_throw() && {
    if (!this->has_value()) throw std::move(this->error());
    if constexpr (!std::is_void_v<T>) return T(std::move(**this));
  }
};

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorKind kind, const std::string& text,
                                                int system_errno = 0) {
  return tl::unexpected<Error>(Error(kind, text, system_errno));
}

}  // namespace sublet
