#include "persistent_call.hpp"

#include <string>
#include <utility>

namespace sublet::mpi {
namespace {

Result<Buffer<std::byte>> room_for(Lease& lease, const Elements& elements) {
  if (elements.is_dense() || elements.bytes() == 0) return Buffer<std::byte>();
  return lease.buffer<std::byte>(elements.bytes());
}

Result<void> check_data(const void* data, const Elements& elements, const char* what) {
  if (data != nullptr || elements.bytes() == 0) return {};
  return fail(ErrorKind::kInvalid, std::string("setting up a call: the ") + what + " of " +
                                       std::to_string(elements.bytes()) +
                                       " bytes is at a null pointer");
}

}  // namespace

PersistentCall::State::~State() {
  call_ = Call();  // waits for it
  release_types();
}

Result<void> PersistentCall::State::describe(const Input& in, const Output& out) {
  const MPI_Comm comm = attachment_->comm();
  if (auto described = in_.describe(comm, in.count, in.type); !described) return described;
  if (auto described = out_.describe(comm, out.count, out.type); !described) return described;
  if (auto good = check_data(in.data, in_, "input"); !good) return good;
  if (auto good = check_data(out.data, out_, "output"); !good) return good;
  Lease lease = function_.lease();
  auto packed_in = room_for(lease, in_);
  if (!packed_in) return tl::unexpected<Error>(std::move(packed_in.error()));
  auto packed_out = room_for(lease, out_);
  if (!packed_out) return tl::unexpected<Error>(std::move(packed_out.error()));
  packed_in_ = std::move(*packed_in);
  packed_out_ = std::move(*packed_out);
  from_ = in.data;
  to_ = out.data;
  return {};
}

Result<void> PersistentCall::State::start() {
  if (is_under_way_ && !poll()) {
    return fail(ErrorKind::kInvalid,
                "starting a persistent call: it is under way already; wait for its end first");
  }
  if (!attachment_->is_open()) {
    return fail(ErrorKind::kInvalid,
                "starting a persistent call: its communicator has been freed, or MPI finalised");
  }
  if (!in_.is_dense()) {
    if (auto packed = in_.pack(attachment_->comm(), from_, packed_in_.data()); !packed) {
      return packed;
    }
  }
  error_.clear();
  reply_ = Reply();
  call_ = function_.async(in_.is_dense() ? from_ : packed_in_.data(), in_.bytes(),
                          out_.is_dense() ? to_ : packed_out_.data(), out_.bytes());
  is_under_way_ = true;
  return {};
}

void PersistentCall::State::take(const Reply& reply) noexcept {
  is_under_way_ = false;
  reply_ = reply;
  if (!reply.ok() || out_.is_dense()) return;
  try {
    const auto unpacked =
        attachment_->is_open()
            ? out_.unpack(attachment_->comm(), packed_out_.data(), reply.size, to_)
            : fail(ErrorKind::kInvalid,
                   "unpacking an output: the communicator of the call has been "
                   "freed, or MPI finalised, before it was waited for");
    if (unpacked) return;
    reply_.status = Status::kInvalid;
    error_ = unpacked.error().what();
  } catch (const std::exception&) {
    reply_.status = Status::kInvalid;  // no memory for the text either
  }
}

bool PersistentCall::State::poll() noexcept {
  if (!is_under_way_) return true;
  if (!call_.poll()) return false;
  take(call_.wait());
  return true;
}

Reply PersistentCall::State::wait_for(std::chrono::nanoseconds limit) noexcept {
  if (!is_under_way_) return reply_;
  const Reply reply = call_.wait_for(limit);
  if (reply.status == Status::kDeadline) return reply;
  take(reply);
  return reply_;
}

Reply PersistentCall::State::wait() noexcept {
  if (is_under_way_) take(call_.wait());
  return reply_;
}

std::string PersistentCall::State::error() const {
  return error_.empty() && !is_under_way_ ? call_.error() : error_;
}

void PersistentCall::State::release_types() noexcept {
  in_.release();
  out_.release();
}

/// The lease has ended by now, and the call with it. What it has brought is unpacked while that is
/// still possible.
void PersistentCall::State::communicator_ends() noexcept {
  poll();
  has_ended_ = true;
  release_types();
}

Result<void> PersistentCall::start() {
  if (state_) return state_->start();
  return fail(
      ErrorKind::kInvalid,
      "starting a persistent call: this one is empty; Allocator::persistent_call() makes one");
}

bool PersistentCall::poll() noexcept {
  return !state_ || state_->poll();
}

Reply PersistentCall::wait() noexcept {
  return state_ ? state_->wait() : Reply{.status = Status::kInvalid};
}

Reply PersistentCall::wait_for(std::chrono::nanoseconds limit) noexcept {
  return state_ ? state_->wait_for(limit) : Reply{.status = Status::kInvalid};
}

std::string PersistentCall::error() const {
  return state_ ? state_->error() : std::string();
}

}  // namespace sublet::mpi
