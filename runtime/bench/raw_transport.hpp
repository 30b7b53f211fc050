#pragma once

#include "raw_exchange.hpp"
#include <sublet/result.hpp>
#include <transport/kind.hpp>

#include <cstddef>
#include <memory>
#include <span>

namespace sublet::bench {

/// A transport's bare exchange: what the benchmarks put beside ours. Each file of raw/ defines one,
/// `raw_<its name>`; the build makes the table of them.
struct RawTransport {
  transport::Kind kind;
  const char* hot;     ///< What the exchange is, for people; in mode hot.
  const char* warm;    ///< The same in mode warm.
  const char* stream;  ///< What the bare stream is.
  /// The stream copies each payload to where the server reads it, which is all there is to move;
  /// others take it from where it lies.
  bool stream_copies;
  /// Forks the server, asleep. Payloads of up to `max_size` bytes. kUnsupported when this node
  /// cannot use the transport.
  Result<std::unique_ptr<RawExchange>> (*start)(std::size_t max_size);
};

/// All there are.
[[nodiscard]] std::span<const RawTransport* const> raw_transports();

/// That of `kind`; null when there is none.
[[nodiscard]] const RawTransport* raw_transport(transport::Kind kind);

/// Starts that of `kind`.
Result<std::unique_ptr<RawExchange>> start_raw(transport::Kind kind, std::size_t max_size);

}  // namespace sublet::bench
