#pragma once

// The two things whose latency is compared, behind one compile-time interface: begin() gets the
// other end ready, one() is what is timed, end() puts the other end to sleep so that the other
// exchange has its core.
//
// Both treat payloads alike: the client marks its private copy, copies it to where the other end
// reads it, and copies the result into private memory. Up to kPlainBytes Sublet takes the private
// memory itself, at no cost, and that is what an application would give it.

#include "options.hpp"
#include "raw_exchange.hpp"
#include <sublet/call.hpp>
#include <sublet/lease.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace sublet::bench {

/// Function takes so many bytes of plain memory at no cost (see its description).
inline constexpr std::size_t kPlainBytes = 40;

/// How long the worker goes on spinning after the last call of a hot batch: long against a pause
/// within a batch, short against a batch.
inline constexpr auto kHotTimeout = std::chrono::milliseconds(1);

/// The client's private copy of what it sends and of what came back.
class PrivatePayload {
 public:
  explicit PrivatePayload(std::size_t size) : in_(size), out_(size) {
    for (std::size_t i = 0; i < size; ++i) in_[i] = static_cast<std::byte>(i * 37 + i / 256);
  }

  [[nodiscard]] std::byte* in() noexcept { return in_.data(); }
  [[nodiscard]] std::byte* out() noexcept { return out_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return in_.size(); }

  /// Makes this call's payload differ from the last one's.
  void mark(std::uint64_t number) noexcept {
    if (size() >= sizeof(number)) {
      std::memcpy(in(), &number, sizeof(number));
    } else {
      std::memcpy(in(), &number, size());
    }
  }
  /// True when the marked bytes came back.
  [[nodiscard]] bool mark_came_back() const noexcept {
    if (in_.size() >= sizeof(std::uint64_t)) {
      return std::memcmp(in_.data(), out_.data(), sizeof(std::uint64_t)) == 0;
    }
    return std::memcmp(in_.data(), out_.data(), in_.size()) == 0;
  }
  /// True when all of it came back; forgets it, so that the next look sees the next call.
  [[nodiscard]] bool all_came_back() noexcept {
    const bool same = in_ == out_;
    out_.assign(out_.size(), std::byte{0});
    return same;
  }

 private:
  std::vector<std::byte> in_;
  std::vector<std::byte> out_;
};

/// A call of `echo` through the public API.
class SubletExchange {
 public:
  /// `echo` and the lease it belongs to must outlive this.
  static Result<SubletExchange> create(Lease& lease, Function& echo, std::size_t size) {
    SubletExchange exchange(echo, size);
    if (size > kPlainBytes) {
      auto in = lease.buffer<std::byte>(size);
      if (!in) return tl::unexpected<Error>(std::move(in.error()));
      auto out = lease.buffer<std::byte>(size);
      if (!out) return tl::unexpected<Error>(std::move(out.error()));
      exchange.in_ = std::move(*in);
      exchange.out_ = std::move(*out);
    }
    return exchange;
  }

  Result<void> begin() { return {}; }  // the first call wakes the worker
  Result<void> end();

  [[nodiscard]] bool one() noexcept {
    if (payload_.size() == kFlagBytes) return one_word();
    payload_.mark(++number_);
    if (payload_.size() <= kPlainBytes) {
      status_ = echo_->call(payload_.in(), payload_.size(), payload_.out(), payload_.size()).status;
    } else {
      std::memcpy(in_.data(), payload_.in(), payload_.size());
      status_ = echo_->call(in_.data(), payload_.size(), out_.data(), payload_.size()).status;
      std::memcpy(payload_.out(), out_.data(), payload_.size());
    }
    return status_ == Status::kOk && payload_.mark_came_back();
  }

  /// As one, and looks at every byte.
  [[nodiscard]] bool checked_one() noexcept {
    return one() && (payload_.size() == kFlagBytes || payload_.all_came_back());
  }

  [[nodiscard]] Error failure() const;

 private:
  SubletExchange(Function& echo, std::size_t size) : echo_(&echo), payload_(size) {}

  /// A payload of one word is a variable here as it is in the raw exchange, whose flag carries it.
  [[nodiscard]] bool one_word() noexcept {
    const std::uint64_t sent = ++number_;
    std::uint64_t returned = 0;
    static_assert(sizeof(sent) == kFlagBytes);
    status_ = echo_->call(&sent, sizeof(sent), &returned, sizeof(returned)).status;
    return status_ == Status::kOk && returned == sent;
  }

  Function* echo_;
  PrivatePayload payload_;
  Buffer<std::byte> in_;
  Buffer<std::byte> out_;
  Status status_ = Status::kOk;  ///< Of the last call.
  std::uint64_t number_ = 0;
};

/// The raw exchange of as many bytes. Raw: RawExchange, or another transport's of the same shape.
template <RawKind kKind, class Raw = RawExchange>
class RawSide {
 public:
  RawSide(Raw& raw, std::size_t size) : raw_(&raw), payload_(size) {}

  Result<void> begin() { return raw_->begin(kKind, payload_.size()); }
  Result<void> end() { return raw_->end(); }

  [[nodiscard]] bool one() noexcept {
    if (!in_flag()) payload_.mark(++number_);
    const bool answered = kKind == RawKind::kHot
                              ? raw_->exchange_hot(payload_.in(), payload_.out())
                              : raw_->exchange_warm(payload_.in(), payload_.out());
    return answered && (in_flag() || payload_.mark_came_back());
  }

  /// As one, and looks at every byte; in the flag, the exchange itself has.
  [[nodiscard]] bool checked_one() noexcept {
    return one() && (in_flag() || payload_.all_came_back());
  }

  [[nodiscard]] Error failure() const {
    return Error(ErrorKind::kInternal,
                 "the raw exchange's server has ended, does not answer or sent other bytes back");
  }

 private:
  /// Only over shared memory: the flag's own word is the payload.
  [[nodiscard]] bool in_flag() const noexcept {
    return std::is_same_v<Raw, RawExchange> && payload_.size() <= kFlagBytes;
  }

  Raw* raw_;
  PrivatePayload payload_;
  std::uint64_t number_ = 0;
};

}  // namespace sublet::bench
