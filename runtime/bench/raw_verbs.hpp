#pragma once

#include "helper_process.hpp"
#include "raw_layout.hpp"
#include <base/shared_memory.hpp>
#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace sublet::bench {

/// The bare exchange of bytes between two pinned processes over RDMA, with nothing of Sublet's in
/// it: the baseline of `sublet bench latency --transport verbs`. One write with immediate data each
/// way, between one registered buffer of each process; inline when the device takes it; one send in
/// kRawSignalEvery is signalled; receives are posted again in batches. Hot, both sides poll their
/// completion queues; warm, the server sleeps in its completion channel between calls.
///
/// The same interface as RawExchange. Start it before the process has a second thread. Thread rule:
/// the thread that started it.
class RawVerbs {
 public:
  /// Forks the server, asleep, and joins it over the first active port. Payloads of up to
  /// `max_size` bytes. `device`: its name; empty: the first that has an active port.
  static Result<RawVerbs> start(std::size_t max_size, const std::string& device = {});

  RawVerbs(RawVerbs&&) noexcept;
  RawVerbs& operator=(RawVerbs&&) noexcept;
  ~RawVerbs();

  [[nodiscard]] pid_t server() const noexcept { return server_.pid(); }
  Result<void> pin_server(int cpu);

  /// Wakes the server and returns once it waits for exchanges of `size` bytes. kHot or kWarm.
  Result<void> begin(RawKind kind, std::size_t size);
  /// Sends the server to sleep; returns once it is about to.
  Result<void> end();

  /// One exchange: `size` bytes from `in`, as many back to `out`. False when the server has died or
  /// does not answer, or the queue pair has failed. HOT-PATH BUDGET: a copy of the payload into and
  /// out of the registered buffer, one ibv_post_send, and polls of the completion queue.
  [[nodiscard]] bool exchange_hot(const std::byte* in, std::byte* out) noexcept;
  /// The client's side is the same; it is the server that sleeps.
  [[nodiscard]] bool exchange_warm(const std::byte* in, std::byte* out) noexcept {
    return exchange_hot(in, out);
  }

  /// Streams `count` bare RDMA writes of `size` bytes, at most `window` (up to kStreamWindow) under
  /// way, each to and from a place of its own, and one answer from the server at the end: bytes per
  /// second. Call it between begin(kStream, size) and end(), and start with room for window *
  /// stream_stride(size).
  Result<double> write_bandwidth(std::size_t size, std::uint64_t count, std::size_t window);

 private:
  struct End;
  struct Meeting;
  RawVerbs();
  [[nodiscard]] Meeting& meeting() noexcept;
  [[nodiscard]] bool server_is_there() noexcept;
  tl::unexpected<Error> server_gone() const;

  base::SharedMemory memory_;  ///< Where the two meet to set up; then only commands.
  HelperProcess server_;
  std::unique_ptr<End> end_;
  std::size_t max_size_ = 0;
  std::size_t size_ = 0;
  std::uint64_t number_ = 0;
  std::uint32_t commands_ = 0;
  std::uint64_t waiting_since_ = 0;
};

/// As perftest does, in effect: a completion for each send would be a second poll in each exchange.
inline constexpr std::uint32_t kRawSignalEvery = 32;

}  // namespace sublet::bench
