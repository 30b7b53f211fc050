#pragma once

// What is said to the client of a call that did not end well. Off the hot path; on the worker's
// thread.

#include <executor/worker_state.hpp>
#include <sublet/status.hpp>
#include <transport/contract.hpp>

#include <string_view>

namespace sublet::executor {

/// The request never reached a function.
[[nodiscard]] std::string_view describe_refusal(WorkerState& worker,
                                                const transport::Invocation& invocation);

/// The number names no function.
[[nodiscard]] std::string_view describe_unknown(WorkerState& worker, std::uint16_t index);

/// The rFaaS form has no room for such a size.
[[nodiscard]] std::string_view describe_long_input(WorkerState& worker,
                                                   const FunctionEntry& function,
                                                   std::uint64_t size);

[[nodiscard]] std::string_view describe_output(WorkerState& worker, const FunctionEntry& function,
                                               std::uint64_t size, std::uint64_t capacity);

/// A typed function returned `code`; what it said is in worker.function_text.
[[nodiscard]] std::string_view describe_failure(WorkerState& worker, const FunctionEntry& function,
                                                std::int32_t code);

/// Call it in a catch block: names the exception being handled.
[[nodiscard]] std::string_view describe_exception(WorkerState& worker,
                                                  const FunctionEntry& function);

}  // namespace sublet::executor
