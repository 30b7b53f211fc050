// Calls where MPI waits, in <sublet_mpi.h>.

#include "../request_path.hpp"
#include "../requests.hpp"
#include "error_classes.hpp"
#include <sublet/c.hpp>
#include <sublet/mpi.hpp>

#include <sublet_mpi.h>

#include <span>
#include <string>
#include <vector>

namespace {

using sublet::Call;
using sublet::Error;
using sublet::Reply;
using sublet::Result;
using sublet::mpi::finish;

sublet_reply to_c(const Reply& reply) noexcept {
  return {sublet::c::code_of(reply.status), reply.worker, reply.size, reply.exec_ns};
}

/// Of what belongs to no communicator.
int failed(int code, const char* text) noexcept {
  return finish(MPI_COMM_NULL, sublet_set_last_error(code, text));
}

int open(sublet_invocation* invocation, sublet_reply* reply, MPI_Request* request) {
  if (const int state = sublet::mpi::mpi_state(); state != SUBLET_SUCCESS) {
    return sublet::mpi::no_mpi(state, "MPI has been finalised already");
  }
  if (invocation == nullptr) {
    return failed(SUBLET_ERR_HANDLE,
                  "the handle of the invocation is null: it was never opened, or has been freed");
  }
  if (request == nullptr) return failed(SUBLET_ERR_ARGUMENT, "the pointer 'request' is null");
  Call& call = sublet::c::call_of(*invocation);
  if (!call.valid()) {
    return failed(SUBLET_ERR_HANDLE,
                  "there is no call in the handle of the invocation: it has become a request, or "
                  "was handed over");
  }
  const auto write = [](void* to, const Reply& result) noexcept {
    *static_cast<sublet_reply*>(to) = to_c(result);
  };
  return finish(MPI_COMM_NULL, sublet::c::guarded("making a request", [&]() -> Result<void> {
                  const auto opened = sublet::mpi::open_request(call, {reply, write});
                  if (!opened) return tl::unexpected<Error>(opened.error());
                  *request = *opened;
                  return {};
                }));
}

/// The code of the first that has ended badly.
int collect(std::span<sublet_invocation* const> invocations, sublet_reply* replies) {
  int first = SUBLET_SUCCESS;
  std::string text;
  for (std::size_t i = 0; i < invocations.size(); ++i) {
    if (invocations[i] == nullptr) continue;
    Call& call = sublet::c::call_of(*invocations[i]);
    const Reply reply = call.wait();  // it has ended
    if (replies != nullptr) replies[i] = to_c(reply);
    if (reply.ok() || first != SUBLET_SUCCESS) continue;
    first = sublet::c::code_of(reply.status);
    text = call.error();
  }
  return first == SUBLET_SUCCESS ? first : sublet_set_last_error(first, text.c_str());
}

}  // namespace

int sublet_mpi_request(sublet_invocation* invocation, sublet_reply* reply, MPI_Request* request) {
  return open(invocation, reply, request);
}

int sublet_mpi_request_fint(sublet_invocation* invocation, sublet_reply* reply, MPI_Fint* request) {
  MPI_Request opened = MPI_REQUEST_NULL;
  if (request == nullptr) return open(invocation, reply, nullptr);
  const int error = open(invocation, reply, &opened);
  if (error == MPI_SUCCESS) *request = MPI_Request_c2f(opened);
  return error;
}

int sublet_waitall(int calls, sublet_invocation* const invocations[], sublet_reply replies[],
                   int requests, MPI_Request mpi_requests[], MPI_Status statuses[]) {
  if (const int state = sublet::mpi::mpi_state(); state != SUBLET_SUCCESS) {
    return sublet::mpi::no_mpi(state, "MPI has been finalised already");
  }
  if (calls < 0 || requests < 0) {
    return failed(SUBLET_ERR_COUNT,
                  calls < 0 ? "'calls' must not be negative" : "'requests' must not be negative");
  }
  if ((calls > 0 && invocations == nullptr) || (requests > 0 && mpi_requests == nullptr)) {
    return failed(SUBLET_ERR_ARGUMENT, calls > 0 && invocations == nullptr
                                           ? "the pointer 'invocations' is null"
                                           : "the pointer 'mpi_requests' is null");
  }
  const std::span handles(invocations, static_cast<std::size_t>(calls));
  int of_mpi = MPI_SUCCESS;
  int mine = SUBLET_SUCCESS;
  const int thrown = sublet::c::guarded("waiting for calls and requests", [&]() -> Result<void> {
    std::vector<Call*> all;
    all.reserve(handles.size());
    for (sublet_invocation* handle : handles) {
      if (handle != nullptr) all.push_back(&sublet::c::call_of(*handle));
    }
    const std::span mpi(mpi_requests, static_cast<std::size_t>(requests));
    of_mpi = sublet::mpi::wait_for_all(all, mpi, statuses);
    if (of_mpi == MPI_SUCCESS) mine = collect(handles, replies);
    return {};
  });
  if (thrown != SUBLET_SUCCESS) return finish(MPI_COMM_NULL, thrown);
  return of_mpi != MPI_SUCCESS ? of_mpi : finish(MPI_COMM_NULL, mine);
}

int sublet_waitall_fint(int calls, sublet_invocation* const invocations[], sublet_reply replies[],
                        int requests, MPI_Fint mpi_requests[], MPI_Fint statuses[]) {
  if (sublet::mpi::mpi_state() != SUBLET_SUCCESS || requests <= 0 || mpi_requests == nullptr) {
    return sublet_waitall(calls, invocations, replies, requests, nullptr, nullptr);
  }
  constexpr std::size_t kStatus = sizeof(MPI_Status) / sizeof(MPI_Fint);
  const std::span handles(mpi_requests, static_cast<std::size_t>(requests));
  int error = MPI_SUCCESS;
  const int thrown = sublet::c::guarded("waiting for calls and requests", [&]() -> Result<void> {
    std::vector<MPI_Request> of_c;
    of_c.reserve(handles.size());
    for (const MPI_Fint handle : handles) of_c.push_back(MPI_Request_f2c(handle));
    std::vector<MPI_Status> ended(statuses == nullptr ? 0 : handles.size());
    error = sublet_waitall(calls, invocations, replies, requests, of_c.data(),
                           statuses == nullptr ? MPI_STATUSES_IGNORE : ended.data());
    for (std::size_t i = 0; i < handles.size(); ++i) handles[i] = MPI_Request_c2f(of_c[i]);
    for (std::size_t i = 0; i < ended.size(); ++i) {
      MPI_Status_c2f(&ended[i], statuses + i * kStatus);
    }
    return {};
  });
  return thrown != SUBLET_SUCCESS ? finish(MPI_COMM_NULL, thrown) : error;
}

const char* sublet_mpi_request_path(void) {
  return sublet::mpi::request_path();
}

const char* sublet_mpi_request_path_offered(void) {
  const char* name = "none";
  const int code = sublet::c::guarded("looking how requests are completed", [&]() -> Result<void> {
    const auto path = sublet::mpi::offered_request_path();
    name = sublet::mpi::name_of(path);
    if (!path) return tl::unexpected<Error>(path.error());
    return {};
  });
  return code == SUBLET_SUCCESS ? name : "none";
}
