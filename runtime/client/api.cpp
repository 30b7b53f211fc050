// The public handles: each forwards to its implementation.

#include <client/batch.hpp>
#include <client/guarded.hpp>
#include <client/last_handle.hpp>
#include <client/lease_impl.hpp>
#include <sublet/call.hpp>
#include <sublet/lease.hpp>
#include <sublet/single_source.hpp>

#include <atomic>
#include <utility>

namespace sublet {
namespace {

constexpr Reply kNothingCalled{.status = Status::kInvalid};
constexpr const char* kEmptyCall =
    "this Call is empty: it comes from an empty Function, was moved from or handed over";
constexpr const char* kEmptyFunction =
    "this Function is empty; Lease::function() finds one in a library";

tl::unexpected<Error> empty_lease(const char* attempted) {
  return fail(ErrorKind::kInvalid,
              std::string(attempted) + ": this Lease is empty; Session::lease() makes one");
}

}  // namespace

// ---- Call ----

Call::Call(std::shared_ptr<client::LeaseImpl> lease, client::PendingCall* call) noexcept
    : lease_(std::move(lease)), call_(call) {}

Call::Call(Call&& other) noexcept
    : lease_(std::move(other.lease_)), call_(std::exchange(other.call_, nullptr)) {}

Call& Call::operator=(Call&& other) noexcept {
  if (this != &other) {
    Call old(std::move(*this));  // waits for what this handle held, when it goes
    lease_ = std::move(other.lease_);
    call_ = std::exchange(other.call_, nullptr);
  }
  return *this;
}

Call::~Call() {
  end();
}

void Call::end() noexcept {
  if (call_ == nullptr) return;
  if (client::exiting()) {  // its end may be far, and another thread may wait for it
    call_ = nullptr;
    return;
  }
  if (!lease_->workers().poll(*call_)) {
    (void)lease_->workers().wait(*call_, base::Deadline::none());
  }
  lease_->workers().recycle(std::exchange(call_, nullptr));
}

bool Call::poll() noexcept {
  return call_ == nullptr || lease_->workers().poll(*call_);
}

void Call::share_lease() {
  if (call_ != nullptr) lease_->workers().share();
}

bool Call::try_poll() noexcept {
  return call_ == nullptr || lease_->workers().try_poll(*call_);
}

Reply Call::wait() noexcept {
  if (call_ == nullptr) return kNothingCalled;
  (void)lease_->workers().wait(*call_, base::Deadline::none());
  return call_->reply;
}

Reply Call::wait_for(std::chrono::nanoseconds limit) noexcept {
  if (call_ == nullptr) return kNothingCalled;
  if (!lease_->workers().wait(*call_, base::Deadline::after(limit))) {
    return Reply{.status = Status::kDeadline};
  }
  return call_->reply;
}

void Call::then(std::function<void(const Reply&)> then) {
  if (call_ == nullptr) {
    if (then) then(kNothingCalled);
    return;
  }
  lease_->workers().hand_over(std::exchange(call_, nullptr), std::move(then));
  lease_.reset();
}

std::string Call::error() const {
  if (call_ == nullptr) return kEmptyCall;
  return call_->reply.ok() ? std::string() : call_->error;
}

// ---- Function ----

Function::Function(std::shared_ptr<client::LeaseImpl> lease, std::uint16_t index)
    : lease_(std::move(lease)), index_(index) {}

Reply Function::call(const void* in, std::size_t in_size, void* out,
                     std::size_t out_capacity) noexcept {
  if (!lease_) [[unlikely]]
    return kNothingCalled;
  return lease_->workers().call(index_, idempotent_, in, in_size, out, out_capacity);
}

Call Function::async(const void* in, std::size_t in_size, void* out,
                     std::size_t out_capacity) noexcept {
  if (!lease_) [[unlikely]]
    return {};
  return Call(lease_, lease_->workers().async(index_, idempotent_, in, in_size, out, out_capacity));
}

Status Function::try_async(std::size_t worker, const void* in, std::size_t in_size, void* out,
                           std::size_t out_capacity, Call& call) noexcept {
  return detail::SingleSource::try_async(*this, worker, in, in_size, out, out_capacity, false,
                                         call);
}

Result<BatchReport> Function::batch(std::span<BatchItem> items, std::chrono::nanoseconds limit) {
  if (!lease_) return fail(ErrorKind::kInvalid, kEmptyFunction);
  return client::run_batch(lease_->workers(), name(), index_, idempotent_, items, limit);
}

std::string Function::last_error() const {
  return lease_ ? lease_->workers().last_error() : kEmptyFunction;
}

const std::string& Function::name() const {
  static const std::string kNoName;
  return lease_ ? lease_->function_name(index_) : kNoName;
}

Lease Function::lease() const {
  return Lease(lease_);
}

// ---- Lease ----

Lease::Lease(std::shared_ptr<client::LeaseImpl> impl) : impl_(std::move(impl)) {
  static std::atomic<std::uint64_t> last{0};
  serial_ = ++last;
}

std::uint64_t Lease::id() const {
  return impl_ ? impl_->id() : 0;
}
std::size_t Lease::workers() const {
  return impl_ ? impl_->workers().size() : 0;
}
WorkerInfo Lease::worker(std::size_t index) const {
  return impl_ ? impl_->worker_info(index) : WorkerInfo{};
}

Result<Function> Lease::function(const std::string& library_path, const std::string& name,
                                 FunctionOptions options) {
  if (!impl_) return empty_lease("finding a function");
  auto index = client::guarded("opening a function",
                               [&] { return impl_->open(library_path, name, options); });
  if (!index) return tl::unexpected<Error>(index.error());
  Function function(impl_, *index);
  function.idempotent_ = options.idempotent;
  return function;
}

std::shared_ptr<std::pmr::memory_resource> Lease::arena() const {
  // The aliasing constructor: nothing to own, nothing to allocate.
  if (!impl_) return {std::shared_ptr<void>(), std::pmr::null_memory_resource()};
  return impl_->arena();
}
void Lease::progress() noexcept {
  if (impl_) [[likely]]
    impl_->workers().progress();
}
bool Lease::wait_all(std::chrono::nanoseconds limit) noexcept {
  return !impl_ || impl_->workers().wait_all(base::Deadline::after(limit));
}
void Lease::on_ending(std::function<void(const EndingNotice&)> callback) {
  if (impl_) impl_->events().set_on_ending(std::move(callback));
}
void Lease::on_lost(std::function<void(const std::string& reason)> callback) {
  if (impl_) impl_->events().set_on_lost(std::move(callback));
}
Result<void> Lease::extend(std::chrono::seconds duration) {
  if (!impl_) return empty_lease("extending a lease");
  return impl_->extend(duration);
}
std::chrono::system_clock::time_point Lease::expires_at() const {
  return std::chrono::system_clock::time_point(
      std::chrono::milliseconds(impl_ ? impl_->expires_unix_ms() : 0));
}
Result<Usage> Lease::usage() {
  if (!impl_) return empty_lease("asking for the usage of a lease");
  return impl_->usage();
}
void Lease::release() noexcept {
  if (impl_) impl_->release();
}

// ---- Functions of the program itself ----

Result<Function> detail::SingleSource::open(Lease& lease, const sublet_function_record& record,
                                            FunctionOptions options) {
  if (!lease.impl_) return empty_lease("calling a function of this program");
  auto index = client::guarded("opening a function of this program",
                               [&] { return lease.impl_->open_own(record, options); });
  if (!index) return tl::unexpected<Error>(index.error());
  Function function(lease.impl_, *index);
  function.idempotent_ = options.idempotent;
  return function;
}

Reply detail::SingleSource::call(client::LeaseImpl& lease, std::uint16_t index, const void* in,
                                 std::size_t in_size, void* out,
                                 std::size_t out_capacity) noexcept {
  return lease.workers().call(index, false, in, in_size, out, out_capacity);
}

Call detail::SingleSource::async(Function& function, const void* in, std::size_t in_size, void* out,
                                 std::size_t out_capacity, bool by_reference) noexcept {
  if (!function.lease_) return {};
  return Call(function.lease_,
              function.lease_->workers().async(function.index_, function.idempotent_, in, in_size,
                                               out, out_capacity, by_reference));
}

Status detail::SingleSource::try_async(Function& function, std::size_t worker, const void* in,
                                       std::size_t in_size, void* out, std::size_t out_capacity,
                                       bool by_reference, Call& call) noexcept {
  if (!function.lease_) [[unlikely]] {
    call.end();
    return Status::kInvalid;
  }
  client::PendingCall* pending = nullptr;
  const Status status =
      function.lease_->workers().try_async(worker, function.index_, function.idempotent_, in,
                                           in_size, out, out_capacity, pending, by_reference);
  call.end();
  if (pending != nullptr) {
    // A handle that is used again and again spares the two atomic operations of a new one.
    if (call.lease_ != function.lease_) call.lease_ = function.lease_;
    call.call_ = pending;
  }
  return status;
}

bool detail::SingleSource::sees(const Lease& lease, const void* memory, std::size_t size) noexcept {
  return lease.impl_ && lease.impl_->arena()->contains(memory, size) &&
         lease.impl_->workers().all_see_arena();
}

std::string detail::SingleSource::last_error(client::LeaseImpl& lease) {
  return lease.workers().last_error();
}

Error Lease::no_room(std::size_t count, std::size_t element_bytes) const {
  const std::string wanted = std::to_string(count) + " elements of " +
                             std::to_string(element_bytes) + " bytes in a lease's arena";
  if (!impl_) return empty_lease(("asking for " + wanted).c_str()).value();
  const transport::Arena& arena = *impl_->arena();
  return Error(ErrorKind::kOverloaded,
               "there is no room for " + wanted + ": it has " + std::to_string(arena.size()) +
                   " bytes, and its largest free block " + std::to_string(arena.largest_free()) +
                   "; release buffers, or ask for more with LeaseRequest::arena_bytes");
}

}  // namespace sublet
