#include "functions.hpp"

#include <sublet/function_abi.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

namespace sublet::conformance {
namespace {

using transport::Completion;
using transport::Invocation;

std::uint64_t number_in(const Invocation& invocation) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, invocation.in, std::min<std::uint64_t>(invocation.in_size, sizeof(value)));
  return value;
}

Completion too_large(std::uint64_t size) noexcept {
  return {Status::kOutputTooLarge, size, 0, 0, 0, "the output does not fit"};
}

Completion reply_with(const Invocation& invocation, const void* data, std::uint64_t size) noexcept {
  if (size > invocation.out_capacity) return too_large(size);
  if (size > 0) std::memmove(invocation.out, data, size);
  return {Status::kOk, size, 0, 0, 0, {}};
}

Completion echo(const Invocation& invocation) noexcept {
  return reply_with(invocation, invocation.in, invocation.in_size);
}

Completion measure(const Invocation& invocation) noexcept {
  Measured measured{invocation.in_size, invocation.out_capacity, 0, 0};
  if (invocation.in_size >= 8) {
    const auto* in = static_cast<const std::byte*>(invocation.in);
    std::memcpy(&measured.first, in, 8);
    std::memcpy(&measured.last, in + invocation.in_size - 8, 8);
  }
  return reply_with(invocation, &measured, sizeof(measured));
}

Completion increment(const Invocation& invocation) noexcept {
  // The input is the client's own memory, which it gives away for the time of the call.
  auto* bytes = static_cast<unsigned char*>(const_cast<void*>(invocation.in));
  for (std::uint64_t i = 0; i < invocation.in_size; ++i) ++bytes[i];
  return {};
}

Completion stamp_end(const Invocation& invocation) noexcept {
  if (invocation.out_capacity < 8) return too_large(8);
  std::memcpy(static_cast<std::byte*>(invocation.out) + invocation.out_capacity - 8, invocation.in,
              8);
  return {Status::kOk, invocation.out_capacity, 0, 0, 0, {}};
}

Completion wait_at(sem_t& gate, const Invocation& invocation, WorkerView& worker) noexcept {
  worker.entered.fetch_add(1);
  while (::sem_wait(&gate) != 0 && errno == EINTR) {
  }
  return echo(invocation);
}

Completion dawdle(const Invocation& invocation) noexcept {
  const base::Ticks end = base::ticks() + number_in(invocation);
  while (base::ticks() < end) base::cpu_pause();
  return echo(invocation);
}

}  // namespace

std::uint64_t digest(const void* data, std::uint64_t size) noexcept {
  constexpr std::uint64_t kPrime = 0x0000'0100'0000'01b3;
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325 ^ size;
  std::uint64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 29;
  }
  for (; i < size; ++i) hash = (hash ^ bytes[i]) * kPrime;
  return hash;
}

void fill(void* data, std::uint64_t size, std::uint64_t seed) noexcept {
  auto* bytes = static_cast<unsigned char*>(data);
  std::uint64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const std::uint64_t word = (seed + i) * 0x9e37'79b9'7f4a'7c15;
    std::memcpy(bytes + i, &word, 8);
  }
  for (; i < size; ++i) bytes[i] = static_cast<unsigned char>(seed + i * 31);
}

namespace {

/// The text of the call that ends by a signal.
thread_local std::string_view last_words;

/// Ends the call from within a signal handler of this thread, as executors' fatal handlers do.
void die(const Invocation& invocation) noexcept {
  struct sigaction action {};
  action.sa_handler = [](int) {
    executor::WorkerState& state = *this_worker->state;
    state.dying.load()(state.channel.load(), state.sequence.load(), Status::kCrashed, last_words);
  };
  ::sigaction(SIGUSR2, &action, nullptr);
  last_words = {static_cast<const char*>(invocation.in), invocation.in_size};
  ::pthread_kill(::pthread_self(), SIGUSR2);
}

Completion run(const Invocation& invocation, Control& control, WorkerView& worker) noexcept {
  switch (static_cast<Function>(invocation.function)) {
    case Function::kEcho:
      return echo(invocation);
    case Function::kDigest: {
      const std::uint64_t value = digest(invocation.in, invocation.in_size);
      return reply_with(invocation, &value, sizeof(value));
    }
    case Function::kFill:
      fill(invocation.out, invocation.out_capacity, number_in(invocation));
      return {Status::kOk, invocation.out_capacity, 0, 0, 0, {}};
    case Function::kIncrement:
      return increment(invocation);
    case Function::kMeasure:
      return measure(invocation);
    case Function::kStampEnd:
      return stamp_end(invocation);
    case Function::kOrder: {
      const std::uint64_t before = worker.calls.load(std::memory_order_relaxed);
      return reply_with(invocation, &before, sizeof(before));
    }
    case Function::kWait:
      return wait_at(control.gate, invocation, worker);
    case Function::kDawdle:
      return dawdle(invocation);
    case Function::kFail:
      return {Status::kFunctionError,
              0,
              0,
              0,
              0,
              {static_cast<const char*>(invocation.in), invocation.in_size}};
    case Function::kTooLarge:
      return too_large(number_in(invocation));
    case Function::kDie:
      die(invocation);
      return {};
    case Function::kCount:
      break;
  }
  return {Status::kUnknownFunction, 0, 0, 0, 0, {}};
}

template <Function kFunction>
std::int32_t typed(sublet_call* call) noexcept {
  Invocation invocation;
  invocation.in = call->input;
  invocation.in_size = call->input_size;
  invocation.out = call->output;
  invocation.out_capacity = call->output_capacity;
  invocation.function = static_cast<std::uint16_t>(kFunction);
  const Completion completion = run(invocation, *this_worker->control, *this_worker->view);
  call->output_size = completion.size;
  if (completion.status == Status::kOk) return 0;
  if (completion.status == Status::kOutputTooLarge) return SUBLET_OUTPUT_TOO_LARGE;
  this_worker->failure = completion.error;
  return 1;
}

template <std::size_t... kNumbers>
void add_all(executor::FunctionTable& table, std::index_sequence<kNumbers...>) {
  (table
       .add(static_cast<std::uint16_t>(kNumbers), "function " + std::to_string(kNumbers),
            reinterpret_cast<void*>(&typed<static_cast<Function>(kNumbers)>),
            executor::FunctionForm::kTyped, std::chrono::milliseconds(0))
       .value_or_throw(),
   ...);
}

}  // namespace

void add_functions(executor::FunctionTable& table) {
  add_all(table, std::make_index_sequence<static_cast<std::size_t>(Function::kCount)>());
}

}  // namespace sublet::conformance
