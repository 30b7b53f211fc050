// Calls where MPI waits: as its requests, and beside them.

#include "agreement.hpp"
#include "implementation.hpp"
#include "request_path.hpp"
#include "requests.hpp"
#include <sublet/mpi.hpp>

#include <thread>
#include <utility>

namespace sublet::mpi {
namespace {

/// Looks that find nothing between two offers of the core to others.
constexpr unsigned kLooksPerYield = 256;

Result<void> check_mpi(const char* attempted) {
  if (!wrong_library().empty()) return fail(ErrorKind::kUnsupported, wrong_library());
  int is = 0;
  MPI_Initialized(&is);
  if (is == 0) {
    return fail(ErrorKind::kInvalid,
                std::string(attempted) + ": MPI is not initialised; call MPI_Init first");
  }
  MPI_Finalized(&is);
  if (is != 0) {
    return fail(ErrorKind::kInvalid, std::string(attempted) + ": MPI has been finalised already");
  }
  return {};
}

}  // namespace

Result<MPI_Request> request(Call&& call, Reply* reply) {
  constexpr const char* kAttempted = "making a request for a call";
  if (auto usable = check_mpi(kAttempted); !usable) return tl::unexpected<Error>(usable.error());
  if (!call.valid()) {
    return fail(ErrorKind::kInvalid,
                std::string(kAttempted) +
                    ": this Call is empty: it comes from an empty Function, was moved from or "
                    "handed over");
  }
  return open_request(call, {reply, [](void* to, const Reply& result) noexcept {
                               *static_cast<Reply*>(to) = result;
                             }});
}

int wait_for_all(std::span<Call* const> calls, std::span<MPI_Request> requests,
                 MPI_Status* statuses) noexcept {
  const int count = static_cast<int>(requests.size());
  bool mpi_ended = requests.empty();
  std::size_t ended = 0;
  for (unsigned looks = 1;; ++looks) {
    while (ended < calls.size() && calls[ended]->poll()) ++ended;
    if (ended == calls.size() || mpi_ended) break;
    int flag = 0;
    const int code = MPI_Testall(count, requests.data(), &flag, statuses);
    if (code != MPI_SUCCESS) return code;
    mpi_ended = flag != 0;
    if (looks % kLooksPerYield == 0) std::this_thread::yield();
  }
  if (!mpi_ended) return MPI_Waitall(count, requests.data(), statuses);
  for (; ended < calls.size(); ++ended) (void)calls[ended]->wait();
  return MPI_SUCCESS;
}

Result<void> waitall(std::span<Call* const> calls, std::span<MPI_Request> requests,
                     MPI_Status* statuses) {
  if (auto usable = check_mpi("waiting for calls and requests"); !usable) return usable;
  const int code = wait_for_all(calls, requests, statuses);
  if (code == MPI_SUCCESS) return {};
  return tl::unexpected<Error>(mpi_error(code, "waiting for MPI requests"));
}

const char* request_path() {
  if (const auto usable = check_mpi("asking how requests are completed"); !usable) return "unknown";
  return name_of(request_path_of_process());
}

}  // namespace sublet::mpi
