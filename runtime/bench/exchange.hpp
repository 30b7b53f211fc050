#pragma once

// Our side of a comparison, for batch.hpp; the other is a RawExchange.
//
// Both treat payloads alike: the client marks its private copy, copies it to where the other end
// reads it, and copies the result into private memory. Up to kPlainBytes Sublet takes the private
// memory itself, at no cost, and that is what an application would give it.

#include "payload.hpp"
#include <sublet/call.hpp>
#include <sublet/lease.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace sublet::bench {

/// Function takes so many bytes of plain memory at no cost (see its description).
inline constexpr std::size_t kPlainBytes = 40;

/// How long the worker goes on spinning after the last call of a hot batch: long against a pause
/// within a batch, short against a batch.
inline constexpr auto kHotTimeout = std::chrono::milliseconds(1);

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
    if (payload_.size() == kOneWord) return one_word();
    payload_.mark();
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
    return one() && (payload_.size() == kOneWord || payload_.all_came_back());
  }

  [[nodiscard]] Error failure() const;

 private:
  SubletExchange(Function& echo, std::size_t size) : echo_(&echo), payload_(size) {}

  /// A payload of one word is a variable here as it is in the raw exchange, whose flag carries it.
  [[nodiscard]] bool one_word() noexcept {
    const std::uint64_t sent = ++number_;
    std::uint64_t returned = 0;
    static_assert(sizeof(sent) == kOneWord);
    status_ = echo_->call(&sent, sizeof(sent), &returned, sizeof(returned)).status;
    return status_ == Status::kOk && returned == sent;
  }

  static constexpr std::size_t kOneWord = sizeof(std::uint64_t);

  Function* echo_;
  PrivatePayload payload_;
  Buffer<std::byte> in_;
  Buffer<std::byte> out_;
  Status status_ = Status::kOk;  ///< Of the last call.
  std::uint64_t number_ = 0;     ///< Of one_word.
};

}  // namespace sublet::bench
