#pragma once

#include <sublet/buffer.hpp>
#include <sublet/call.hpp>
#include <sublet/export.hpp>
#include <sublet/result.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

namespace sublet {

namespace client {
class LeaseImpl;
class SessionImpl;
}  // namespace client
namespace detail {
class SingleSource;
}  // namespace detail
class CallsWithOptions;

/// Where the cores of a lease should come from.
enum class Placement : std::uint8_t {
  kPack,    ///< As few nodes as possible.
  kSpread,  ///< As many nodes as possible.
  kNear,    ///< The client's own node first, then as kPack.
};

/// Who may claim grants: the public half of a session's key, see Session::holder_key().
using HolderKey = std::array<std::uint8_t, 32>;

/// What a client asks the resource manager for.
struct LeaseRequest {
  /// Workers per part: cores, unless `cores_per_worker` gives each worker more than one. A part
  /// then holds `cores` x `cores_per_worker` of them.
  std::uint32_t cores = 1;
  /// How many clients share the lease, each with its own grants: the size of a communicator.
  std::uint32_t parts = 1;
  std::uint64_t memory_bytes = std::uint64_t{256}
                               << 20;  ///< Per part, for functions; least: 16 MiB.
  std::chrono::seconds duration{3600};
  Placement placement = Placement::kNear;
  /// How long an idle worker spins before it sleeps: -1 always, 0 never, else milliseconds. It
  /// begins with the first call; until then the worker sleeps.
  std::chrono::milliseconds hot_timeout{-1};
  /// Address space of each part's arena. Pages count only once they are used.
  std::uint64_t arena_bytes = std::uint64_t{1} << 30;
  std::uint32_t slots = 16;  ///< Calls in flight per worker; a power of two, at most 1024.
  /// Nodes that are given back or die take their workers with them: lease as many cores elsewhere
  /// in their place, as soon as there are any. Calls find the new workers by themselves.
  bool replace = true;
  /// How long a call waits for a worker when there is none but one may come: while an executor that
  /// died is replaced, or (with `replace`) while other cores are looked for. Then it ends with
  /// kClosed.
  std::chrono::milliseconds worker_wait{30'000};
  /// A worker runs one function at a time on so many cores of one node, of one NUMA node where they
  /// fit: for functions with threads of their own (OpenMP, TBB, std::thread).
  std::uint32_t cores_per_worker = 1;
  /// A worker has so many GPUs of its own, of one node, and cores near them: at most 64. Functions
  /// find them, and no others, in CUDA_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES.
  std::uint32_t gpus_per_worker = 0;
  /// How long the request waits at the resource manager when nothing is free: 0 not at all, at most
  /// a week. Whoever asks is blocked for so long.
  std::chrono::milliseconds wait{0};
  /// Of requests that wait, those of a higher priority are served first: -100 to 100, above 0 for
  /// operators alone.
  std::int32_t priority = 0;
  /// How long before the lease ends its client is told (Lease::on_ending), whoever ends it: its
  /// time, an operator with notice, or a node that is given back. At most an hour.
  std::chrono::milliseconds notice{5000};
  /// For Session::request(): the session that may claim each part. Empty: the one that asks, all.
  std::vector<HolderKey> holders{};
};

/// The right to one node's share of a lease. Only the session that it was asked for can claim it,
/// once: a copy is worth nothing to anybody else.
class SUBLET_API Grant {
 public:
  Grant() = default;
  /// For sending it to the process that claims it. Before that there is no secret in the bytes.
  [[nodiscard]] std::vector<std::byte> to_bytes() const;
  /// Checks what it reads; kInvalid when the bytes are no grant.
  static Result<Grant> from_bytes(std::span<const std::byte> bytes);

  std::uint64_t lease_id = 0;
  std::uint32_t part = 0;
  std::uint32_t cores = 0;  ///< Workers, as in LeaseRequest.
  std::uint32_t cores_per_worker = 1;
  std::uint32_t gpus_per_worker = 0;
  std::uint32_t slots = 16;
  std::uint64_t arena_bytes = 0;
  std::string node_name;
  std::string node_id;                 ///< Boot id and node name: who can map the same memory.
  std::vector<std::string> addresses;  ///< Of the executor manager, best first.
  std::vector<std::byte> sealed;       ///< What it is claimed with: signed by who granted it.
  /// Of its data connections: 16 random bytes, and a secret. Empty until it has been claimed.
  std::vector<std::byte> token;
  std::int64_t expires_unix_ms = 0;
};

/// A worker as a person wants to see it.
struct WorkerInfo {
  std::string node_name;
  std::string cpuset;             ///< In hwloc's list syntax, for instance "3" or "2-3".
  std::string transport;          ///< "shm", ...
  std::vector<std::string> gpus;  ///< UUIDs of its own.
};

/// Said to the client some time before its lease ends.
struct EndingNotice {
  std::chrono::milliseconds left{0};
  std::string reason;
  /// Only one node of the lease is meant, which is being given back: nothing more is submitted to
  /// its workers, calls under way there may end until `left` is over. An extension does not help.
  bool leaving = false;
};

/// Resources consumed so far, summed over the lease's workers. A worker computes or polls for one
/// ns in one ns, however many cores it has.
struct Usage {
  std::uint64_t invocations = 0;
  std::uint64_t compute_ns = 0;
  std::uint64_t hot_poll_ns = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  double core_seconds = 0;  ///< Cores held, all of each worker, times wall time.
  double gpu_seconds = 0;   ///< The same of GPUs, whether functions used them or not.

  Usage& operator+=(const Usage& other) noexcept {
    invocations += other.invocations;
    compute_ns += other.compute_ns;
    hot_poll_ns += other.hot_poll_ns;
    bytes_in += other.bytes_in;
    bytes_out += other.bytes_out;
    core_seconds += other.core_seconds;
    gpu_seconds += other.gpu_seconds;
    return *this;
  }
};

/// Cores on one or more nodes that run this client's functions, for a time.
///
/// A handle; copies share the lease, which is released when the last of them, its functions,
/// calls and buffers are gone, by release(), or by the death of the process. Thread rule: one
/// thread at a time uses a lease and all that comes from it; several threads take a lease each.
///
/// An empty handle (default-constructed or moved from) has no workers and an arena without memory;
/// what can fail fails with kInvalid.
class SUBLET_API Lease {
 public:
  Lease() = default;

  [[nodiscard]] std::uint64_t id() const;
  [[nodiscard]] std::size_t workers() const;
  [[nodiscard]] WorkerInfo worker(std::size_t index) const;

  /// Loads the library at `library_path` (of this process's file system; its content travels) into
  /// the lease's executors and finds the function `name` in it. Blocks until all have it.
  Result<Function> function(const std::string& library_path, const std::string& name,
                            FunctionOptions options = {});

  template <class Signature>
  Result<TypedFunction<Signature>> function(const std::string& library_path,
                                            const std::string& name, FunctionOptions options = {}) {
    auto found = function(library_path, name, options);
    if (!found) return tl::unexpected<Error>(std::move(found.error()));
    return TypedFunction<Signature>(std::move(*found));
  }

  // ---- Functions of this program itself: <sublet/single_source.hpp> ----

  /// Calls f(args...) on a worker and waits for what it returns.
  template <class F, class... Args>
  auto call(const F& f, const Args&... args);
  /// Starts f(args...) on a worker.
  template <class F, class... Args>
  auto async(const F& f, const Args&... args);
  /// Calls with options: lease.with({.timeout = 1s}).call(f, args...), or async(f, args...).
  [[nodiscard]] CallsWithOptions with(FunctionOptions options) const;
  /// The function `F` of this program, with options.
  template <auto F>
  auto function(FunctionOptions options = {});

  /// `count` elements of T in the lease's arena. kOverloaded when the arena is full.
  template <class T>
  Result<Buffer<T>> buffer(std::size_t count) {
    try {
      return Buffer<T>(arena(), count);
    } catch (const std::bad_alloc&) {
      return tl::unexpected<Error>(no_room(count, sizeof(T)));
    }
  }

  /// The lease's arena for containers: std::pmr::vector<double> v(lease.arena().get()).
  /// Throws std::bad_alloc when full.
  [[nodiscard]] std::shared_ptr<std::pmr::memory_resource> arena() const;

  /// Completes calls that have ended and runs their continuations. Never blocks.
  void progress() noexcept;

  /// Waits until no call of this lease is under way; false when `limit` ends first.
  bool wait_all(std::chrono::nanoseconds limit) noexcept;

  /// Told when the lease is about to end, or has been lost. Run on the session's helper thread:
  /// keep them short and do not call back into the lease. They may drop its handles, or exit().
  /// What has come before is told at once, by the thread that sets the callback.
  void on_ending(std::function<void(const EndingNotice&)> callback);
  void on_lost(std::function<void(const std::string& reason)> callback);

  /// Asks the resource manager for more time, counted from now.
  Result<void> extend(std::chrono::seconds duration);
  [[nodiscard]] std::chrono::system_clock::time_point expires_at() const;

  /// Asks the executor managers what the lease has consumed so far.
  Result<Usage> usage();

  /// Ends the lease now. Calls under way end with kClosed, once nothing can write to their memory
  /// any more: it waits for executors on this node to be gone, for 3 s at most. It also waits, at
  /// most for the session's timeout, when workers are being asked for in place of others: these go
  /// back too. Continuations of calls that had not ended run before it returns. Idempotent.
  void release() noexcept;

  [[nodiscard]] bool valid() const noexcept { return impl_ != nullptr; }

 private:
  friend class Function;
  friend class Session;
  friend class detail::SingleSource;
  explicit Lease(std::shared_ptr<client::LeaseImpl> impl);
  [[nodiscard]] Error no_room(std::size_t count, std::size_t element_bytes) const;
  std::shared_ptr<client::LeaseImpl> impl_;
  std::uint64_t serial_ = 0;  ///< Of the lease in this process; never used again, as addresses are.
};

}  // namespace sublet
