#include "agreement.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace sublet::mpi {
namespace {

/// An Error between two ranks. One message of a fixed size: the receivers need not learn a length
/// first, which would be one more step to fail at.
struct ErrorMessage {
  std::int32_t kind;
  std::int32_t system_errno;
  std::uint32_t length;
  std::array<char, 4084> text;
};
static_assert(sizeof(ErrorMessage) == 4096);

ErrorMessage pack(const Error& error) {
  ErrorMessage message{};
  message.kind = static_cast<std::int32_t>(error.kind());
  message.system_errno = error.system_errno();
  const std::size_t length = std::min(std::strlen(error.what()), message.text.size());
  std::memcpy(message.text.data(), error.what(), length);
  message.length = static_cast<std::uint32_t>(length);
  return message;
}

Error unpack(const ErrorMessage& message) {
  const std::size_t length = std::min<std::size_t>(message.length, message.text.size());
  return Error(error_kind_from(static_cast<unsigned>(message.kind)),
               std::string(message.text.data(), length), message.system_errno);
}

}  // namespace

Error mpi_error(int code, const std::string& attempted) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) length = 0;
  const std::string reason = length > 0 ? std::string(text.data(), static_cast<std::size_t>(length))
                                        : "MPI error code " + std::to_string(code);
  return Error(ErrorKind::kInternal, attempted + " failed: " + reason);
}

Error with_context(const std::string& context, const Error& error) {
  return Error(error.kind(), context + ": " + error.what(), error.system_errno());
}

Result<void> Outcome::agree(MPI_Comm comm) const {
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);

  const int mine = error_ ? rank : size;
  int lowest = size;
  if (int code = MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, comm); code != MPI_SUCCESS) {
    return tl::unexpected<Error>(
        error_ ? *error_ : mpi_error(code, "agreeing with the other ranks on the outcome"));
  }
  if (lowest == size) return {};

  ErrorMessage message{};
  if (lowest == rank) message = pack(*error_);
  const int code = MPI_Bcast(&message, sizeof message, MPI_BYTE, lowest, comm);
  if (code != MPI_SUCCESS) {
    return tl::unexpected<Error>(
        mpi_error(code, "learning why rank " + std::to_string(lowest) + " failed"));
  }
  return tl::unexpected<Error>(unpack(message));
}

}  // namespace sublet::mpi
