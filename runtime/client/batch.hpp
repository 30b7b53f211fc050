#pragma once

#include <client/workers.hpp>
#include <sublet/call.hpp>

#include <chrono>
#include <cstdint>
#include <span>

namespace sublet::client {

/// Function::batch: all items over all workers, with a window of calls under way.
Result<BatchReport> run_batch(Workers& workers, const std::string& name, std::uint16_t function,
                              bool idempotent, std::span<BatchItem> items,
                              std::chrono::nanoseconds limit);

}  // namespace sublet::client
