// Calls through the C interface.
//
// BUDGET  of sublet_call, on top of the C++ call: a handful of comparisons; no allocation, lock,
//         system call or virtual call. sublet_call_async and sublet_call_try allocate a handle,
//         which is used again when it is passed again. Only failures touch the thread's last error.

#include <c/error.hpp>
#include <c/handles.hpp>

#include <memory>

namespace sublet::c {
namespace {

sublet_reply to_c(const Reply& reply) noexcept {
  return {code_of(reply.status), reply.worker, reply.size, reply.exec_ns};
}

/// SUBLET_SUCCESS when a call may have these arguments.
inline int check(const sublet_function* function, const void* in, std::size_t in_size,
                 const void* out, std::size_t out_capacity) noexcept {
  if (function == nullptr) [[unlikely]]
    return null_handle("function");
  if ((in == nullptr && in_size > 0) || (out == nullptr && out_capacity > 0)) [[unlikely]]
    return null_pointer(in == nullptr && in_size > 0 ? "in" : "out");
  if (in_size > kMostBytes || out_capacity > kMostBytes) [[unlikely]] {
    return in_size > kMostBytes ? bad_size("in_size", in_size)
                                : bad_size("out_capacity", out_capacity);
  }
  return SUBLET_SUCCESS;
}

/// The code of a call that has gone wrong; `text()` says why.
template <class Text>
[[gnu::noinline, gnu::cold]] int ended_badly(Status status, Text&& text) {
  const int code = code_of(status);
  const int thrown = guarded(to_string(status), [&]() -> Result<void> {
    failed(code, text());
    return {};
  });
  return thrown == SUBLET_SUCCESS ? code : sublet_set_last_error(code, nullptr);
}

/// The reply of a call by its handle, to `reply` when that is not null.
int deliver(const Reply& result, const Call& call, sublet_reply* reply) {
  if (reply != nullptr) *reply = to_c(result);
  if (result.ok()) [[likely]]
    return SUBLET_SUCCESS;
  return ended_badly(result.status, [&]() -> std::string {
    if (result.status == Status::kDeadline) return "the call is still under way at its limit's end";
    return call.error();
  });
}

/// Makes a handle where there is none yet.
int prepare(sublet_invocation** invocation) {
  if (*invocation != nullptr) [[likely]]
    return SUBLET_SUCCESS;
  return guarded("making a handle for a call", [&]() -> Result<void> {
    *invocation = new sublet_invocation;
    return {};
  });
}

}  // namespace

Call& call_of(sublet_invocation& invocation) noexcept {
  return invocation.call;
}

}  // namespace sublet::c

using namespace sublet::c;
using sublet::Result;
using sublet::Status;

int sublet_call(sublet_function* function, const void* in, size_t in_size, void* out,
                size_t out_capacity, sublet_reply* reply) {
  const int code = check(function, in, in_size, out, out_capacity);
  if (code != SUBLET_SUCCESS) [[unlikely]]
    return code;
  const sublet::Reply result = function->function.call(in, in_size, out, out_capacity);
  if (reply != nullptr) *reply = to_c(result);
  if (result.ok()) [[likely]]
    return SUBLET_SUCCESS;
  return ended_badly(result.status, [&] { return function->function.last_error(); });
}

int sublet_call_async(sublet_function* function, const void* in, size_t in_size, void* out,
                      size_t out_capacity, sublet_invocation** invocation) {
  if (const int code = check(function, in, in_size, out, out_capacity); code != SUBLET_SUCCESS) {
    return code;
  }
  if (invocation == nullptr) return null_pointer("invocation");
  if (const int code = prepare(invocation); code != SUBLET_SUCCESS) return code;
  (*invocation)->call = function->function.async(in, in_size, out, out_capacity);
  return SUBLET_SUCCESS;
}

int sublet_call_try(sublet_function* function, size_t worker, const void* in, size_t in_size,
                    void* out, size_t out_capacity, sublet_invocation** invocation) {
  if (const int code = check(function, in, in_size, out, out_capacity); code != SUBLET_SUCCESS) {
    return code;
  }
  if (invocation == nullptr) return null_pointer("invocation");
  if (const int code = prepare(invocation); code != SUBLET_SUCCESS) return code;
  const Status status =
      function->function.try_async(worker, in, in_size, out, out_capacity, (*invocation)->call);
  if (status == Status::kOk) [[likely]]
    return SUBLET_SUCCESS;
  if (status == Status::kAgain) return SUBLET_ERR_AGAIN;
  return ended_badly(status, [&]() -> std::string {
    return "worker " + std::to_string(worker) + " does not take the call: " + to_string(status);
  });
}

int sublet_invocation_poll(sublet_invocation* invocation, int* ended) {
  if (invocation == nullptr) return null_handle("invocation");
  if (ended == nullptr) return null_pointer("ended");
  *ended = invocation->call.poll() ? 1 : 0;
  return SUBLET_SUCCESS;
}

int sublet_invocation_wait(sublet_invocation* invocation, sublet_reply* reply) {
  if (invocation == nullptr) return null_handle("invocation");
  return deliver(invocation->call.wait(), invocation->call, reply);
}

int sublet_invocation_wait_for(sublet_invocation* invocation, int64_t limit_ns,
                               sublet_reply* reply) {
  if (invocation == nullptr) return null_handle("invocation");
  if (limit_ns < -1) return bad_count("limit_ns", limit_ns);
  return deliver(invocation->call.wait_for(limit_from(limit_ns)), invocation->call, reply);
}

int sublet_invocation_then(sublet_invocation** invocation, sublet_continuation then,
                           void* context) {
  if (invocation == nullptr) return null_pointer("invocation");
  if (*invocation == nullptr) return null_handle("invocation");
  if (then == nullptr) return null_pointer("then");
  const std::unique_ptr<sublet_invocation> taken(std::exchange(*invocation, nullptr));
  return guarded("handing over a call", [&]() -> Result<void> {
    taken->call.then([then, context](const sublet::Reply& reply) {
      const sublet_reply result = to_c(reply);
      then(&result, context);
    });
    return {};
  });
}

int sublet_invocation_free(sublet_invocation** invocation) {
  return free_handle(invocation, "invocation");
}
