#pragma once

#include <sublet/result.hpp>

#include <mpi.h>

#include <exception>
#include <optional>
#include <string>
#include <utility>

namespace sublet::mpi {

/// An MPI error code as an Error: what was attempted and MPI's own text for the code.
[[nodiscard]] Error mpi_error(int code, const std::string& attempted);

/// `error` with what it happened to before its text.
[[nodiscard]] Error with_context(const std::string& context, const Error& error);

/// What one rank has to say about a collective operation: nothing, or the first thing that went
/// wrong there. After a failure the rank still takes part in every message of the operation, so
/// that no other rank waits for it; this class is what makes that easy to write.
class Outcome {
 public:
  void note(Error error) {
    if (!error_) error_ = std::move(error);
  }
  /// Notes a return code other than MPI_SUCCESS.
  void note_mpi(int code, const char* attempted) {
    if (code != MPI_SUCCESS) note(mpi_error(code, attempted));
  }
  /// Runs a step that is local to this rank, unless an earlier one failed. Exceptions (out of
  /// memory) become errors: unwinding past a collective would leave the other ranks waiting.
  template <class Step>
  void attempt(const std::string& what, Step&& step) {
    if (error_) return;
    try {
      if (Result<void> done = step(); !done) note(std::move(done.error()));
    } catch (const std::exception& thrown) {
      note(Error(ErrorKind::kInternal, what + " failed: " + thrown.what()));
    }
  }
  [[nodiscard]] bool ok() const noexcept { return !error_.has_value(); }

  /// Collective over `comm`: the error of the lowest rank that has one, the same on every rank.
  [[nodiscard]] Result<void> agree(MPI_Comm comm) const;

 private:
  std::optional<Error> error_;
};

}  // namespace sublet::mpi
