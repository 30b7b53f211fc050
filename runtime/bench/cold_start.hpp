#pragma once

#include "exchange.hpp"
#include "options.hpp"
#include <sublet/sublet.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::bench {

/// What there is on the node before a lease.
enum class Start : std::uint8_t {
  kBare,  ///< Nothing: the executor is forked for it.
  kWarm,  ///< A process that is ready to become the executor.
};

[[nodiscard]] const char* to_string(Start start);

/// Cold starts of a batch: some milliseconds.
inline constexpr unsigned kStartsPerBatch = 5;

/// What a private manager is told about its node. Empty: nothing.
struct PrivateNode {
  Start start = Start::kBare;
  std::string isolation{};
  std::string image{};
};

/// A private manager for such starts alone, or the manager that is given.
Result<Session> open_session_for(const PrivateNode& node, const CommonOptions& options);

/// `count` times, one after the other: a lease of one core, its first function and the first call
/// of it, in ns each. The release of each, and what the next one begins with, is waited for.
Result<std::vector<double>> start_batch(Session& session, Start start_with,
                                        const std::string& library, PrivatePayload& payload,
                                        std::uint64_t count);

}  // namespace sublet::bench
