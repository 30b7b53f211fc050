#pragma once

#include "helper_process.hpp"
#include "raw_layout.hpp"
#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sublet::bench {

/// The raw exchange of bytes between two pinned processes over a TCP connection of the loopback
/// interface, with nothing of Sublet's in it: the baseline of `sublet bench latency` where calls
/// travel over a network. Holds the client's end and the server process.
///
/// Both ends use one system call for a message that fits the socket. Start it before the process
/// has a second thread. Thread rule: the thread that started it.
class RawTcpExchange {
 public:
  /// Forks the server, asleep. Payloads of up to `max_size` bytes.
  static Result<RawTcpExchange> start(std::size_t max_size);

  [[nodiscard]] pid_t server() const noexcept { return server_.pid(); }

  /// Binds the server to a core.
  Result<void> pin_server(int cpu);

  /// Wakes the server and returns once it waits for exchanges of `size` bytes (of one byte when it
  /// is 0: a stream has no empty messages); kHot: spinning, kWarm: blocked in recv(2).
  Result<void> begin(RawKind kind, std::size_t size);
  /// Sends the server to sleep; returns once it is about to.
  Result<void> end();

  /// One exchange: `size` bytes from `in`, as many back to `out`, this side spinning. False when
  /// the server has died or does not answer. HOT-PATH BUDGET: one send and one receive that finds
  /// the reply, on each side, and as many receives before as find nothing.
  [[nodiscard]] bool exchange_hot(const std::byte* in, std::byte* out) noexcept;
  [[nodiscard]] bool exchange_warm(const std::byte* in, std::byte* out) noexcept;

  /// Streams `count` messages of `size` bytes, from `window` buffers in turn; the server
  /// reads each whole and answers once at the end: bytes per second. Call it between
  /// begin(kStream, size) and end(), and start with room for window * stream_stride(size).
  Result<double> write_bandwidth(std::size_t size, std::uint64_t count, std::size_t window);

 private:
  [[nodiscard]] bool server_answers(std::byte expected) noexcept;
  tl::unexpected<Error> server_gone() const;

  base::SharedMemory memory_;  ///< Of the word that says whether a message is the last one.
  base::Fd data_;
  base::Fd control_;
  HelperProcess server_;
  std::size_t max_size_ = 0;
  std::size_t size_ = 0;           ///< Of the message that end() sends: at least 1.
  bool empty_ = false;             ///< The caller has no byte to send.
  std::vector<std::byte> stream_;  ///< What a stream sends.
};

}  // namespace sublet::bench
