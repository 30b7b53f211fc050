#pragma once

#include "helper_process.hpp"
#include "raw_layout.hpp"
#include <base/clock.hpp>
#include <base/shared_memory.hpp>
#include <sublet/result.hpp>

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

namespace sublet::bench {

/// One end of a bare libfabric connection: registered memory, an endpoint, a completion queue that
/// can also be slept on. Nothing of Sublet's transport in it, apart from the choice of the
/// provider.
class RawFabricEnd {
 public:
  RawFabricEnd() = default;
  RawFabricEnd(RawFabricEnd&&) = default;
  RawFabricEnd& operator=(RawFabricEnd&&) = default;
  RawFabricEnd(const RawFabricEnd&) = delete;
  RawFabricEnd& operator=(const RawFabricEnd&) = delete;
  ~RawFabricEnd() = default;

  /// What the other end needs to write here.
  struct Place {
    std::uint64_t address = 0;
    std::uint64_t key = 0;
  };

  /// Registers `memory` and makes the domain and its queues.
  Result<void> prepare(const fi_info& info, fid_fabric* fabric, void* memory, std::size_t size);
  Result<void> make_endpoint(fi_info* info);
  /// Waits for the connection.
  Result<void> await_connected();

  [[nodiscard]] Place place() const noexcept { return place_; }
  [[nodiscard]] fid_ep* endpoint() const noexcept { return endpoint_.get(); }

  /// Writes `size` bytes of the own memory at `from` to the peer's at `to`, with `data`. False when
  /// the connection is gone.
  [[nodiscard]] bool write(const std::byte* from, std::size_t size, const Place& to,
                           std::uint64_t offset, std::uint64_t data) noexcept {
    for (;;) {
      const ssize_t result =
          size <= inject_size_ ? fi_inject_writedata(endpoint_.get(), from, size, data,
                                                     FI_ADDR_UNSPEC, to.address + offset, to.key)
                               : fi_writedata(endpoint_.get(), from, size, descriptor_, data,
                                              FI_ADDR_UNSPEC, to.address + offset, to.key, nullptr);
      if (result == 0) return true;
      if (result != -FI_EAGAIN) return false;
      if (!look(last_)) return false;
    }
  }
  /// As write, completing (as `done` in look) when it has left; false when there is no room.
  [[nodiscard]] bool start_write(const std::byte* from, std::size_t size, const Place& to,
                                 std::uint64_t offset) noexcept;

  /// One look at the completions: `data` becomes that of the last message which came, `done()`
  /// counts writes. False when the connection is gone.
  [[nodiscard]] bool look(std::uint64_t& data) noexcept {
    fi_cq_data_entry entries[8];
    const ssize_t count = fi_cq_read(completions_.get(), entries, 8);
    if (count < 0) return count == -FI_EAGAIN;
    for (ssize_t i = 0; i < count; ++i) {
      if ((entries[i].flags & FI_REMOTE_CQ_DATA) != 0) {
        data = entries[i].data;
      } else {
        ++done_;
      }
    }
    return true;
  }
  [[nodiscard]] std::uint64_t done() const noexcept { return done_; }
  /// Sleeps until there may be a completion.
  void sleep() noexcept;

  std::uint64_t last_ = 0;  ///< What look() found while write() waited for room.

 private:
  struct Close {
    template <class F>
    void operator()(F* fid) const noexcept {
      fi_close(&fid->fid);
    }
  };
  template <class F>
  using Fid = std::unique_ptr<F, Close>;

  fid_fabric* fabric_ = nullptr;
  Fid<fid_domain> domain_;
  Fid<fid_cq> completions_;
  Fid<fid_eq> events_;
  Fid<fid_mr> registered_;
  Fid<fid_ep> endpoint_;
  Place place_;
  void* descriptor_ = nullptr;
  std::size_t inject_size_ = 0;
  std::uint64_t done_ = 0;
  int wait_fd_ = -1;
};

/// The bare fi_writedata ping-pong between two pinned processes over connected endpoints of the
/// provider that the fabric transport would use, and bare streaming writes: the baselines of the
/// fabric transport. Same shape as RawExchange.
///
/// Start it before the process has a second thread. Thread rule: the thread that started it.
class RawFabric {
 public:
  /// Forks the server, asleep. Payloads of up to `max_size` bytes. kUnsupported when the provider
  /// has no connected endpoints.
  static Result<RawFabric> start(std::size_t max_size);

  [[nodiscard]] pid_t server() const noexcept { return server_.pid(); }
  [[nodiscard]] const std::string& provider() const noexcept { return provider_; }

  /// Binds the server to a core.
  Result<void> pin_server(int cpu);

  /// Wakes the server and returns once it waits for exchanges of `size` bytes.
  Result<void> begin(RawKind kind, std::size_t size);
  /// Sends the server to sleep; returns once it is about to.
  Result<void> end();

  /// One exchange, as the server's kind has it: `size` bytes from `in`, as many back to `out`.
  /// False when the server has died or does not answer. HOT-PATH BUDGET: two copies of the payload,
  /// fi_writedata (injected where the provider can), fi_cq_read until the answer is there.
  [[nodiscard]] bool exchange_hot(const std::byte* in, std::byte* out) noexcept {
    const std::uint64_t number = ++number_;
    std::memcpy(out_area_, in, size_);
    if (!end_.write(out_area_, size_, peer_, 0, number)) return false;
    std::uint64_t data = 0;
    for (std::uint32_t spins = 0; data != number;) {
      if (!end_.look(data)) return false;
      if (++spins == kLooksPerCheck) [[unlikely]] {
        spins = 0;
        if (!server_is_there()) return false;
      }
    }
    waiting_since_ = 0;
    std::memcpy(out, in_area_, size_);
    return true;
  }
  /// The client's part is the same; its server sleeps.
  [[nodiscard]] bool exchange_warm(const std::byte* in, std::byte* out) noexcept {
    return exchange_hot(in, out);
  }

  /// Streams `count` writes of `size` bytes, at most `window` under way, and one answer from the
  /// server at the end: bytes per second. With start(window * size) each has a buffer of its own,
  /// as calls under way have; with less they share, and stay in the caches. Call it between
  /// begin(kStream, ...) and end().
  Result<double> write_bandwidth(std::size_t size, std::uint64_t count, std::size_t window);

 private:
  static constexpr std::uint32_t kLooksPerCheck = 1u << 14;
  [[nodiscard]] bool server_is_there() noexcept;
  [[nodiscard]] RawControl& control() noexcept;
  tl::unexpected<Error> server_gone() const;
  Result<void> await_state(std::uint32_t state);

  base::SharedMemory memory_;  ///< RawControl, for commands only.
  base::SharedMemory area_;    ///< What is sent, then what is received.
  HelperProcess server_;
  std::string provider_;
  RawFabricEnd end_;
  RawFabricEnd::Place peer_;
  std::byte* out_area_ = nullptr;
  const std::byte* in_area_ = nullptr;
  std::size_t max_size_ = 0;
  std::size_t size_ = 0;
  std::uint64_t number_ = 0;
  std::uint32_t commands_ = 0;
  std::uint64_t waiting_since_ = 0;
};

}  // namespace sublet::bench
