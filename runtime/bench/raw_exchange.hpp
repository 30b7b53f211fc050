#pragma once

// PROTOCOL  Two processes exchange the same bytes as a call does, over one transport, with nothing
//           of Sublet's in it. The client (this process) starts the server by fork. Each opens its
//           end, over the HelperLink when they must tell each other something; then the server
//           says that it is ready, or why not.
// STATES    The server sleeps on `command` and uses no time of its core. begin() sets kind and size
//           and counts `command` up; the server sets `state` to the command's number and serves
//           exchanges until end() stops it; then it sets `state` to kAsleep and sleeps again.
// LIMITS    Payloads up to the size it was started for. The client gives up on a server that does
//           not answer for kRawExchangeLimit; the server ends with the client (PR_SET_PDEATHSIG).

#include "batch.hpp"
#include "payload.hpp"
#include <base/clock.hpp>
#include <base/helper_process.hpp>
#include <base/shared_memory.hpp>
#include <sublet/result.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sublet::bench {

using namespace std::chrono_literals;

/// What the server does when it is awake.
enum class RawKind : std::uint32_t {
  kHot,     ///< Exchanges, both sides spinning.
  kWarm,    ///< Exchanges, the server sleeping between calls.
  kStream,  ///< Payloads one way, several under way, both sides spinning.
  kLine,    ///< One word, written by both in turn: the time of a bounced cache line. Only shm.
};

/// Adjacent lines are fetched in pairs, so that a word is alone only in 128 bytes.
inline constexpr std::size_t kAlone = 128;

/// Longer than any scheduler keeps a runnable process waiting on a machine worth measuring.
inline constexpr auto kRawExchangeLimit = 10s;
/// Both ends open devices and connect: some tens of milliseconds each.
inline constexpr auto kOpenLimit = 10s;

/// What the two processes share, whatever the transport.
struct RawControl {
  alignas(kAlone) std::atomic<std::uint32_t> command;
  RawKind kind;
  std::uint64_t size;
  alignas(kAlone) std::atomic<std::uint32_t> state;
  /// Set by end(), for transports whose messages cannot say that they are the last.
  alignas(kAlone) std::atomic<std::uint32_t> stopping;
};

/// One transport's bare exchange: the baseline of the benchmarks. Holds the client's end and the
/// server process; each transport's is in raw/, made by RawTransport::start (raw_transport.hpp).
///
/// Start it before the process has a second thread. Thread rule: the thread that started it.
class RawExchange {
 public:
  RawExchange() = default;
  RawExchange(const RawExchange&) = delete;
  RawExchange& operator=(const RawExchange&) = delete;
  virtual ~RawExchange() = default;

  [[nodiscard]] pid_t server() const noexcept { return server_.pid(); }
  /// Binds the server to a core.
  Result<void> pin_server(int cpu);

  /// Wakes the server and returns once it waits for exchanges of `size` bytes.
  Result<void> begin(RawKind kind, std::size_t size);
  /// Sends the server to sleep; returns once it is about to.
  Result<void> end();

  /// A batch of exchanges of the payload; kHot or kWarm.
  virtual Result<std::vector<double>> run_batch(RawKind kind, PrivatePayload& payload,
                                                const BatchPlan& plan) = 0;

  /// Streams `count` payloads of `size` bytes, at most `window` (up to kStreamWindow) under way,
  /// each in a place of its own: bytes per second until the server's answer to the last. Call it
  /// between begin(kStream, size) and end(), and start with room for window * stream_stride(size).
  Result<double> write_bandwidth(std::size_t size, std::uint64_t count, std::size_t window);

  /// What a cache line written by both sides in turn takes one way, in ns, where that bounds the
  /// exchange; else 0. Wakes the server and sends it to sleep again.
  virtual Result<double> bounced_line_ns() { return 0.0; }

 protected:
  /// Forks the server and opens both ends, by the four functions below.
  Result<void> launch(std::size_t max_size);

  /// Before the fork: what both processes inherit.
  virtual Result<void> prepare() { return {}; }
  /// The server's end, in the server.
  virtual Result<void> open_server(base::HelperLink& other) = 0;
  virtual Result<void> open_client(base::HelperLink& other) = 0;
  /// In the server: exchanges of `size` bytes until stop() was called in the client. False when the
  /// connection is broken; the server then ends.
  virtual bool serve(RawKind kind, std::size_t size) = 0;

  /// In the client, while the server sleeps: made ready for exchanges of size().
  virtual void reset(RawKind kind) = 0;
  /// In the client: makes serve() return. False when the connection is broken.
  [[nodiscard]] virtual bool stop() noexcept = 0;
  /// In the client, while it waits for the server to wake or sleep: what is still in this process
  /// must leave it. False when the connection is broken.
  [[nodiscard]] virtual bool push_out() noexcept { return true; }
  /// Bytes until the last answer; see write_bandwidth. False when the connection is broken.
  [[nodiscard]] virtual bool stream(std::size_t size, std::uint64_t count,
                                    std::size_t window) noexcept = 0;

  /// Calls `look` until it returns 1 (true) or -1 (false); false as well when the server has ended
  /// or does not answer. It is looked at after each `kLooksPerCheck`, so many that they outlast any
  /// exchange: no measured one pays for it.
  template <std::uint32_t kLooksPerCheck, class Look>
  [[nodiscard, gnu::always_inline]] bool spin(Look look) noexcept {
    for (std::uint32_t looks = 1;; ++looks) {
      const int seen = look();
      if (seen != 0) {
        waiting_since_ = 0;
        return seen > 0;
      }
      if (looks % kLooksPerCheck == 0 && !server_is_there()) [[unlikely]]
        return false;
    }
  }

  /// The server is at work, though spin() goes on: the limit of its silence begins again.
  void heard() noexcept { waiting_since_ = 0; }

  [[nodiscard]] RawControl& control() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t max_size() const noexcept { return max_size_; }
  [[nodiscard]] tl::unexpected<Error> server_gone() const;

 private:
  [[noreturn]] void run_server(base::HelperLink& client);
  [[nodiscard]] bool server_is_there() noexcept;
  Result<void> await_state(std::uint32_t state);

  base::SharedMemory memory_;  ///< RawControl.
  base::HelperProcess server_;
  std::size_t max_size_ = 0;
  std::size_t size_ = 0;
  std::uint32_t commands_ = 0;
  base::Ticks waiting_since_ = 0;
};

/// The timed loop, compiled into each transport's own exchange. Derived has
///   template <RawKind kKind> bool exchange(const std::byte* in, std::byte* out) noexcept,
/// one exchange of size() bytes, false when the server has died or does not answer; and
///   static constexpr std::size_t kInFlag: up to so many bytes it sends a number of its own.
template <class Derived>
class RawExchangeOf : public RawExchange {
 public:
  static Result<std::unique_ptr<RawExchange>> start(std::size_t max_size) {
    auto raw = std::make_unique<Derived>();
    if (auto launched = raw->launch(max_size); !launched) {
      return tl::unexpected<Error>(std::move(launched.error()));
    }
    return raw;
  }

  Result<std::vector<double>> run_batch(RawKind kind, PrivatePayload& payload,
                                        const BatchPlan& plan) final {
    if (kind == RawKind::kWarm) return run<RawKind::kWarm>(payload, plan);
    return run<RawKind::kHot>(payload, plan);
  }

 private:
  /// What batch.hpp takes batches from.
  template <RawKind kKind>
  struct Side {
    RawExchangeOf* raw;
    PrivatePayload* payload;

    Result<void> begin() { return raw->begin(kKind, payload->size()); }
    Result<void> end() { return raw->end(); }
    [[nodiscard, gnu::always_inline]] bool one() noexcept {
      const bool in_flag = payload->size() <= Derived::kInFlag;
      if (!in_flag) payload->mark();
      const bool answered =
          static_cast<Derived*>(raw)->template exchange<kKind>(payload->in(), payload->out());
      return answered && (in_flag || payload->mark_came_back());
    }
    [[nodiscard]] bool checked_one() noexcept {
      return one() && (payload->size() <= Derived::kInFlag || payload->all_came_back());
    }
    [[nodiscard]] Error failure() const { return raw->server_gone().value(); }
  };

  template <RawKind kKind>
  Result<std::vector<double>> run(PrivatePayload& payload, const BatchPlan& plan) {
    Side<kKind> side{this, &payload};
    return bench::run_batch(side, plan);
  }
};

}  // namespace sublet::bench
