#pragma once

#include "control.hpp"
#include <executor/worker_state.hpp>
#include <transport/contract.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sublet::conformance {

/// The functions that the workers of the suite know, by number.
enum class Function : std::uint16_t {
  kEcho,       ///< Copies the input to the output.
  kDigest,     ///< Reads all of the input; 8 bytes of digest().
  kFill,       ///< Fills the whole output with fill() from 8 bytes of seed.
  kIncrement,  ///< Adds one to each byte of the input, where it lies.
  kMeasure,    ///< A Measured of the input, of which it reads the ends only.
  kStampEnd,   ///< Copies 8 bytes of input to the very end of the output.
  kOrder,      ///< 8 bytes: how many calls this worker had ended before.
  kWait,       ///< Waits at the gate, then echoes.
  kDawdle,     ///< Spins for as many ticks as 8 bytes of input say, then echoes.
  kFail,       ///< kFunctionError with the input as its text.
  kTooLarge,   ///< kOutputTooLarge, and 8 bytes of input say how much it would have been.
  kDie,        ///< Ends the call from a signal handler, kCrashed, with the input as its text.
  kCount,
};

struct Measured {
  std::uint64_t in_size;
  std::uint64_t out_capacity;
  std::uint64_t first;  ///< 8 bytes of each end of the input.
  std::uint64_t last;
};
static_assert(sizeof(Measured) <= transport::kInlineBytes);

std::uint64_t digest(const void* data, std::uint64_t size) noexcept;

/// Bytes that depend on the seed and on their place.
void fill(void* data, std::uint64_t size, std::uint64_t seed) noexcept;

/// What the functions that run on a worker's thread work with.
struct WorkerContext {
  Control* control = nullptr;
  WorkerView* view = nullptr;
  executor::WorkerState* state = nullptr;
  std::string_view failure;  ///< What the function that has just failed said.
};
inline thread_local WorkerContext* this_worker = nullptr;

/// Adds all of them under their numbers, in the typed form.
void add_functions(executor::FunctionTable& table);

}  // namespace sublet::conformance
