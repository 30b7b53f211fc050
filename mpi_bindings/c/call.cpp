// Calls of <sublet_mpi.h> whose data MPI datatypes describe, over sublet::mpi::PersistentCall.

#include "allocator.hpp"
#include "error_classes.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

struct sublet_mpi_persistent {
  sublet::mpi::PersistentCall call;
  sublet::mpi::Scope scope;
};

namespace {

using sublet::Error;
using sublet::Reply;
using sublet::Result;
using sublet::mpi::finish;
using sublet::mpi::Input;
using sublet::mpi::Output;
using sublet::mpi::PersistentCall;

int null_pointer(const char* what) {
  const std::string text = std::string("the pointer '") + what + "' is null";
  return sublet_set_last_error(SUBLET_ERR_ARGUMENT, text.c_str());
}

int bad_count(const char* what, MPI_Count found) {
  const std::string text = std::string("'") + what + "' must not be " + std::to_string(found);
  return sublet_set_last_error(SUBLET_ERR_COUNT, text.c_str());
}

int check_handle(const sublet_mpi_persistent* call) {
  return sublet::mpi::check_scope(
      call, "the handle of the persistent call is null: it was never made, or has been freed");
}

/// The communicator whose error handler is called for `call`.
MPI_Comm comm_of(const sublet_mpi_persistent* call) {
  return call == nullptr || call->scope.watch->has_ended() ? MPI_COMM_NULL : call->scope.comm;
}

int set_up(sublet_allocator& allocator, sublet_function* function, const Input& in,
           const Output& out, std::unique_ptr<sublet_mpi_persistent>& made) {
  if (function == nullptr) {
    return sublet_set_last_error(SUBLET_ERR_HANDLE,
                                 "the handle of the function is null: it was never opened, or has "
                                 "been freed");
  }
  if (in.count < 0) return bad_count("in_count", in.count);
  if (out.count < 0) return bad_count("out_count", out.count);
  bool is_invalid = false;
  const int code = sublet::c::guarded("setting up a call", [&]() -> Result<void> {
    auto call = allocator.allocator.persistent_call(sublet::c::function_of(function), in, out);
    if (!call) {
      is_invalid = call.error().kind() != sublet::ErrorKind::kOverloaded;
      return tl::unexpected<Error>(std::move(call.error()));
    }
    made = std::make_unique<sublet_mpi_persistent>(
        sublet_mpi_persistent{std::move(*call), allocator.scope});
    return {};
  });
  if (!is_invalid) return code;
  const bool has_null =
      (in.data == nullptr && in.count > 0) || (out.data == nullptr && out.count > 0);
  const bool has_types = in.type != MPI_DATATYPE_NULL && out.type != MPI_DATATYPE_NULL;
  return has_null && has_types ? SUBLET_ERR_ARGUMENT : SUBLET_ERR_TYPE;
}

int start(sublet_mpi_persistent& of) {
  if (!of.call.poll()) {
    return sublet_set_last_error(
        SUBLET_ERR_UNDER_WAY, "the persistent call is under way already; wait for its end first");
  }
  return sublet::c::guarded("starting a call", [&] { return of.call.start(); });
}

/// The code of a call that has come to `reply`, which goes to `to` when that is not null.
int deliver(const PersistentCall& call, const Reply& reply, sublet_reply* to) {
  const int code = sublet::c::code_of(reply.status);
  if (to != nullptr) *to = {code, reply.worker, reply.size, reply.exec_ns};
  if (reply.ok()) return SUBLET_SUCCESS;
  const int thrown = sublet::c::guarded("explaining how a call ended", [&]() -> Result<void> {
    const std::string text = reply.status == sublet::Status::kDeadline
                                 ? "the call is still under way at its limit's end"
                                 : call.error();
    sublet_set_last_error(code, text.c_str());
    return {};
  });
  return thrown == SUBLET_SUCCESS ? code : sublet_set_last_error(code, nullptr);
}

/// After MPI_Finalize too: a call that has ended keeps its reply.
int wait_for(sublet_mpi_persistent* call, std::chrono::nanoseconds limit, sublet_reply* reply) {
  if (call == nullptr) return finish(MPI_COMM_NULL, check_handle(call));
  const Reply result = call->call.wait_for(limit);
  return finish(comm_of(call), deliver(call->call, result, reply));
}

}  // namespace

int sublet_mpi_call_init_c(sublet_allocator* allocator, sublet_function* function, const void* in,
                           MPI_Count in_count, MPI_Datatype in_type, void* out, MPI_Count out_count,
                           MPI_Datatype out_type, sublet_mpi_persistent** call) {
  int code = sublet::mpi::check_allocator(allocator);
  if (code != SUBLET_SUCCESS) return finish(MPI_COMM_NULL, code);
  if (call == nullptr) return finish(allocator->scope.comm, null_pointer("call"));
  std::unique_ptr<sublet_mpi_persistent> made;
  code = set_up(*allocator, function, {in, in_count, in_type}, {out, out_count, out_type}, made);
  if (code == SUBLET_SUCCESS) *call = made.release();
  return finish(allocator->scope.comm, code);
}

int sublet_mpi_call_init(sublet_allocator* allocator, sublet_function* function, const void* in,
                         int in_count, MPI_Datatype in_type, void* out, int out_count,
                         MPI_Datatype out_type, sublet_mpi_persistent** call) {
  return sublet_mpi_call_init_c(allocator, function, in, in_count, in_type, out, out_count,
                                out_type, call);
}

int sublet_mpi_call_c(sublet_allocator* allocator, sublet_function* function, const void* in,
                      MPI_Count in_count, MPI_Datatype in_type, void* out, MPI_Count out_count,
                      MPI_Datatype out_type, sublet_reply* reply) {
  int code = sublet::mpi::check_allocator(allocator);
  if (code != SUBLET_SUCCESS) return finish(MPI_COMM_NULL, code);
  std::unique_ptr<sublet_mpi_persistent> made;
  code = set_up(*allocator, function, {in, in_count, in_type}, {out, out_count, out_type}, made);
  if (code == SUBLET_SUCCESS) code = start(*made);
  if (code == SUBLET_SUCCESS) code = deliver(made->call, made->call.wait(), reply);
  return finish(allocator->scope.comm, code);
}

int sublet_mpi_call(sublet_allocator* allocator, sublet_function* function, const void* in,
                    int in_count, MPI_Datatype in_type, void* out, int out_count,
                    MPI_Datatype out_type, sublet_reply* reply) {
  return sublet_mpi_call_c(allocator, function, in, in_count, in_type, out, out_count, out_type,
                           reply);
}

// Types of Fortran can only be looked up while MPI works.

int sublet_mpi_call_fint(sublet_allocator* allocator, sublet_function* function, const void* in,
                         int64_t in_count, MPI_Fint in_type, void* out, int64_t out_count,
                         MPI_Fint out_type, sublet_reply* reply) {
  const int code = sublet::mpi::check_allocator(allocator);
  if (code != SUBLET_SUCCESS) return finish(MPI_COMM_NULL, code);
  return sublet_mpi_call_c(allocator, function, in, in_count, MPI_Type_f2c(in_type), out, out_count,
                           MPI_Type_f2c(out_type), reply);
}

int sublet_mpi_call_init_fint(sublet_allocator* allocator, sublet_function* function,
                              const void* in, int64_t in_count, MPI_Fint in_type, void* out,
                              int64_t out_count, MPI_Fint out_type, sublet_mpi_persistent** call) {
  const int code = sublet::mpi::check_allocator(allocator);
  if (code != SUBLET_SUCCESS) return finish(MPI_COMM_NULL, code);
  return sublet_mpi_call_init_c(allocator, function, in, in_count, MPI_Type_f2c(in_type), out,
                                out_count, MPI_Type_f2c(out_type), call);
}

int sublet_mpi_start(sublet_mpi_persistent* call) {
  int code = check_handle(call);
  if (code == SUBLET_SUCCESS) code = start(*call);
  return finish(comm_of(call), code);
}

int sublet_mpi_startall(int count, sublet_mpi_persistent* calls[]) {
  if (count < 0) return finish(MPI_COMM_NULL, bad_count("count", count));
  if (calls == nullptr && count > 0) return finish(MPI_COMM_NULL, null_pointer("calls"));
  for (int i = 0; i < count; ++i) {
    if (const int error = sublet_mpi_start(calls[i]); error != MPI_SUCCESS) return error;
  }
  return MPI_SUCCESS;
}

int sublet_mpi_test(sublet_mpi_persistent* call, int* ended) {
  if (call == nullptr) return finish(MPI_COMM_NULL, check_handle(call));
  if (ended == nullptr) return finish(comm_of(call), null_pointer("ended"));
  *ended = call->call.poll() ? 1 : 0;
  return MPI_SUCCESS;
}

int sublet_mpi_wait(sublet_mpi_persistent* call, sublet_reply* reply) {
  return wait_for(call, std::chrono::nanoseconds::max(), reply);
}

int sublet_mpi_wait_for(sublet_mpi_persistent* call, int64_t limit_ns, sublet_reply* reply) {
  if (limit_ns < -1) return finish(comm_of(call), bad_count("limit_ns", limit_ns));
  return wait_for(
      call, limit_ns < 0 ? std::chrono::nanoseconds::max() : std::chrono::nanoseconds(limit_ns),
      reply);
}

int sublet_mpi_call_free(sublet_mpi_persistent** call) {
  if (call == nullptr) return finish(MPI_COMM_NULL, null_pointer("call"));
  delete std::exchange(*call, nullptr);
  return MPI_SUCCESS;
}
