#pragma once

#include <sublet/export.hpp>
#include <sublet/result.hpp>
#include <sublet/status.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

namespace sublet {

namespace client {
class LeaseImpl;
struct PendingCall;
}  // namespace client
namespace detail {

class SingleSource;

[[nodiscard]] inline ErrorKind kind_of(Status status) noexcept {
  switch (status) {
    case Status::kLost:
    case Status::kClosed:
    case Status::kDeadline:
      return ErrorKind::kDisconnected;
    case Status::kDenied:
      return ErrorKind::kDenied;
    default:
      return ErrorKind::kInvalid;
  }
}

}  // namespace detail

class Lease;

/// How an invocation ended.
struct Reply {
  Status status = Status::kAgain;
  std::uint32_t worker = 0;  ///< Index of the worker within its lease.
  std::uint64_t size = 0;  ///< Bytes written to the output; with kOutputTooLarge the bytes needed.
  std::uint64_t exec_ns = 0;  ///< The worker's own execution time, in ns.

  [[nodiscard]] bool ok() const noexcept { return status == Status::kOk; }
};

/// An invocation under way. A handle: move it, keep it until the call has ended.
///
/// An empty handle (default-constructed, moved from, or handed over with then()) stands for a call
/// that has ended with Status::kInvalid.
///
/// Thread rule: the thread that uses the lease. Input and output must stay valid until the call
/// has ended; the destructor therefore waits for a call that has not (as the future of std::async
/// does), at most until its function's timeout or the end of the lease.
class SUBLET_API Call {
 public:
  Call() = default;
  Call(Call&& other) noexcept;
  Call& operator=(Call&& other) noexcept;
  ~Call();

  /// True when the call has ended. Never blocks.
  [[nodiscard]] bool poll() noexcept;

  /// Waits for the end of the call: a result, an error, or kLost.
  Reply wait() noexcept;

  /// As wait, at most for `limit`; status kDeadline when the call is still under way then.
  Reply wait_for(std::chrono::nanoseconds limit) noexcept;

  /// Hands the call to its lease, which runs `then` once it has ended: in Lease::progress, or in
  /// any wait on the same lease, on the thread that does so, or in the lease's release. It runs
  /// once. An exception that leaves it is logged and goes no further. This handle is empty
  /// afterwards. When it was empty before, `then` runs at once.
  void then(std::function<void(const Reply&)> then);

  /// From now on several threads may use this call's lease and all that comes from it: each use
  /// takes a lock, which costs some 20 ns. Called by the thread that uses the lease, before any
  /// other does. Throws std::bad_alloc.
  void share_lease();

  /// As poll, and false as well while another thread uses a lease that is shared.
  [[nodiscard]] bool try_poll() noexcept;

  /// Why the call failed, naming the function and the cause. Empty unless it has ended badly.
  [[nodiscard]] std::string error() const;

  [[nodiscard]] bool valid() const noexcept { return call_ != nullptr; }

 private:
  friend class Function;
  friend class detail::SingleSource;
  Call(std::shared_ptr<client::LeaseImpl> lease, client::PendingCall* call) noexcept;
  /// Waits for the call and gives it back; the handle is empty then.
  void end() noexcept;
  std::shared_ptr<client::LeaseImpl> lease_;
  client::PendingCall* call_ = nullptr;
};

/// How a function is to be run.
struct FunctionOptions {
  /// The longest one invocation may take on the worker. Zero: until the lease ends.
  std::chrono::milliseconds timeout{0};
  /// Running it twice does no harm: a lost call is run again on another worker.
  bool idempotent = false;
  /// Room for what a function of the program itself returns when its size is not known beforehand
  /// (a text, a vector). A larger result is an error that names its size.
  std::size_t result_bytes = std::size_t{64} << 10;
};

/// One item of a batch. `in` and `out` stay valid until the batch has ended.
struct BatchItem {
  const void* in = nullptr;
  std::size_t in_size = 0;
  void* out = nullptr;
  std::size_t out_capacity = 0;
  Reply reply{};
};

/// What became of a batch.
struct BatchReport {
  std::size_t ok = 0;
  std::size_t failed = 0;
  std::string first_error;  ///< Empty when none failed.
};

/// A function of a library that the executors of a lease have loaded.
///
/// Owner: the caller; it keeps the lease alive. Thread rule: as for its Lease. Memory of the
/// lease's arena (Lease::buffer) is used in place; other memory is staged, up to 40 bytes of it at
/// no cost. Calls of an empty handle (default-constructed or moved from) end with kInvalid.
class SUBLET_API Function {
 public:
  Function() = default;

  /// Runs the function on the worker with the least outstanding calls and waits for the reply.
  Reply call(const void* in, std::size_t in_size, void* out, std::size_t out_capacity) noexcept;

  /// Starts the function and returns at once. A call that finds every slot of every worker taken,
  /// or no worker up, waits in the lease's queue; it moves on whenever the lease is used: in poll,
  /// wait, progress or another call. A transport may read the input at any time until the call has
  /// ended.
  [[nodiscard]] Call async(const void* in, std::size_t in_size, void* out,
                           std::size_t out_capacity) noexcept;

  /// As async, on one worker and without the queue: status kAgain (and an empty `call`) when it has
  /// no free slot, or is down and may come back; kClosed when it will not.
  Status try_async(std::size_t worker, const void* in, std::size_t in_size, void* out,
                   std::size_t out_capacity, Call& call) noexcept;

  /// Runs all items over all workers of the lease, each worker getting its next item when it has
  /// room, and waits for all. Fails as a whole only when `limit` ends first: items that have not
  /// ended then have status kDeadline, and the calls under way are waited for.
  Result<BatchReport> batch(std::span<BatchItem> items, std::chrono::nanoseconds limit);

  /// Why the last call() failed, naming the function and the cause.
  [[nodiscard]] std::string last_error() const;

  [[nodiscard]] const std::string& name() const;
  /// A handle of its lease; an empty one of an empty handle.
  [[nodiscard]] Lease lease() const;
  [[nodiscard]] bool valid() const noexcept { return lease_ != nullptr; }

 private:
  friend class Lease;
  friend class detail::SingleSource;
  Function(std::shared_ptr<client::LeaseImpl> lease, std::uint16_t index);
  std::shared_ptr<client::LeaseImpl> lease_;
  std::uint16_t index_ = 0;
  bool idempotent_ = false;
};

/// A Function with a signature: `TypedFunction<double(Option)>` takes an Option, returns a
/// Result<double>. Both types are trivially copyable and travel as their bytes.
template <class Signature>
class TypedFunction;

template <class Out, class In>
class TypedFunction<Out(In)> {
  static_assert(std::is_trivially_copyable_v<In> && std::is_trivially_copyable_v<Out>);

 public:
  TypedFunction() = default;
  explicit TypedFunction(Function function) : function_(std::move(function)) {}

  Result<Out> operator()(const In& in) {
    Out out;
    const Reply reply = function_.call(&in, sizeof(In), &out, sizeof(Out));
    if (!reply.ok()) return fail(detail::kind_of(reply.status), function_.last_error());
    if (reply.size != sizeof(Out)) {
      return fail(ErrorKind::kInvalid, "function '" + function_.name() + "' returned " +
                                           std::to_string(reply.size) + " bytes where " +
                                           std::to_string(sizeof(Out)) + " were expected");
    }
    return out;
  }

  /// `in` and `out` stay valid until the call has ended.
  [[nodiscard]] Call async(const In& in, Out& out) noexcept {
    return function_.async(&in, sizeof(In), &out, sizeof(Out));
  }

  [[nodiscard]] Function& untyped() noexcept { return function_; }

 private:
  Function function_;
};

}  // namespace sublet
