// The public handles: each forwards to its implementation.

#include <client/batch.hpp>
#include <client/lease_impl.hpp>
#include <sublet/call.hpp>
#include <sublet/lease.hpp>

#include <utility>

namespace sublet {

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
  if (call_->state != client::CallState::kEnded) {
    (void)lease_->workers().wait(*call_, base::Deadline::none());
  }
  lease_->workers().recycle(std::exchange(call_, nullptr));
}

bool Call::poll() noexcept {
  return call_ == nullptr || lease_->workers().poll(*call_);
}

Reply Call::wait() noexcept {
  if (call_ == nullptr) return Reply{.status = Status::kInvalid};
  (void)lease_->workers().wait(*call_, base::Deadline::none());
  return call_->reply;
}

Reply Call::wait_for(std::chrono::nanoseconds limit) noexcept {
  if (call_ == nullptr) return Reply{.status = Status::kInvalid};
  if (!lease_->workers().wait(*call_, base::Deadline::after(limit))) {
    return Reply{.status = Status::kDeadline};
  }
  return call_->reply;
}

void Call::then(std::function<void(const Reply&)> then) {
  if (call_ == nullptr) return;
  lease_->workers().hand_over(std::exchange(call_, nullptr), std::move(then));
  lease_.reset();
}

std::string Call::error() const {
  return call_ == nullptr || call_->reply.ok() ? std::string() : call_->error;
}

// ---- Function ----

Function::Function(std::shared_ptr<client::LeaseImpl> lease, std::uint16_t index)
    : lease_(std::move(lease)), index_(index) {}

Reply Function::call(const void* in, std::size_t in_size, void* out,
                     std::size_t out_capacity) noexcept {
  return lease_->workers().call(index_, idempotent_, in, in_size, out, out_capacity);
}

Call Function::async(const void* in, std::size_t in_size, void* out,
                     std::size_t out_capacity) noexcept {
  return Call(lease_, lease_->workers().async(index_, idempotent_, in, in_size, out, out_capacity));
}

Status Function::try_async(std::size_t worker, const void* in, std::size_t in_size, void* out,
                           std::size_t out_capacity, Call& call) noexcept {
  client::PendingCall* pending = nullptr;
  const Status status =
      lease_->workers().try_async(worker, index_, idempotent_, in, in_size, out, out_capacity, pending);
  call.end();
  if (pending != nullptr) {
    // A handle that is used again and again spares the two atomic operations of a new one.
    if (call.lease_ != lease_) call.lease_ = lease_;
    call.call_ = pending;
  }
  return status;
}

Result<BatchReport> Function::batch(std::span<BatchItem> items, std::chrono::nanoseconds limit) {
  return client::run_batch(lease_->workers(), name(), index_, idempotent_, items, limit);
}

std::string Function::last_error() const {
  return lease_->workers().last_error();
}

const std::string& Function::name() const {
  return lease_->function_name(index_);
}

// ---- Lease ----

std::uint64_t Lease::id() const {
  return impl_->id();
}
std::size_t Lease::workers() const {
  return impl_->workers().size();
}
WorkerInfo Lease::worker(std::size_t index) const {
  return impl_->worker_info(index);
}

Result<Function> Lease::function(const std::string& library_path, const std::string& name,
                                 FunctionOptions options) {
  auto index = impl_->open(library_path, name, options);
  if (!index) return tl::unexpected<Error>(index.error());
  Function function(impl_, *index);
  function.idempotent_ = options.idempotent;
  return function;
}

std::shared_ptr<std::pmr::memory_resource> Lease::arena() const {
  return impl_->arena();
}
void Lease::progress() noexcept {
  impl_->workers().progress();
}
bool Lease::wait_all(std::chrono::nanoseconds limit) noexcept {
  return impl_->workers().wait_all(base::Deadline::after(limit));
}
void Lease::on_ending(std::function<void(const EndingNotice&)> callback) {
  impl_->events().set_on_ending(std::move(callback));
}
void Lease::on_lost(std::function<void(const std::string& reason)> callback) {
  impl_->events().set_on_lost(std::move(callback));
}
Result<void> Lease::extend(std::chrono::seconds duration) {
  return impl_->extend(duration);
}
std::chrono::system_clock::time_point Lease::expires_at() const {
  return std::chrono::system_clock::time_point(std::chrono::milliseconds(impl_->expires_unix_ms()));
}
Result<Usage> Lease::usage() {
  return impl_->usage();
}
void Lease::release() noexcept {
  if (impl_) impl_->release();
}

std::string Lease::arena_full_text(std::size_t bytes) const {
  return "the lease's arena of " + std::to_string(impl_->arena()->size()) +
         " bytes has no free block of " + std::to_string(bytes) + " bytes; the largest has " +
         std::to_string(impl_->arena()->largest_free());
}

}  // namespace sublet
