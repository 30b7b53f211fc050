#include <transport/common/doorkeeper.hpp>

#include <bit>

namespace sublet::transport {
namespace {

bool usable_slots(std::uint32_t slots, std::uint32_t most) noexcept {
  return std::has_single_bit(slots) && slots <= most;
}

}  // namespace

std::optional<Refusal> Doorkeeper::why_refused(const Greeting& greeting, std::uint32_t version,
                                               const MayTake& may_take) {
  if (greeting.version != version) {
    return Refusal{Status::kInvalid,
                   "the client speaks version " + std::to_string(greeting.version) +
                       " of the protocol, this executor version " + std::to_string(version)};
  }
  const Proof wanted = client_proof(options_.token, options_.generation, greeting);
  if (!same_proof(greeting.proof, wanted)) {
    return Refusal{Status::kDenied, "the token is not the one of this lease"};
  }
  if (seen_.size() == kMaxGreetings) {
    return Refusal{Status::kDenied, "this executor has taken " + std::to_string(kMaxGreetings) +
                                        " connections; lease another"};
  }
  if (!seen_.insert(greeting.nonce).second) {
    return Refusal{Status::kDenied, "this greeting has come before"};
  }
  if (greeting.worker >= options_.workers) {
    return Refusal{Status::kInvalid, "there is no worker " + std::to_string(greeting.worker) +
                                         "; the lease has " + std::to_string(options_.workers)};
  }
  if (!usable_slots(greeting.slots, options_.max_slots)) {
    return Refusal{Status::kInvalid, std::to_string(greeting.slots) +
                                         " slots were asked for; a power of two up to " +
                                         std::to_string(options_.max_slots) + " can be had"};
  }
  if (!may_take(greeting.worker)) {
    return Refusal{Status::kDenied,
                   "worker " + std::to_string(greeting.worker) + " has a channel already"};
  }
  if (greeting.arena_size > options_.max_arena_bytes) {
    return Refusal{Status::kInvalid, "the arena has " + std::to_string(greeting.arena_size) +
                                         " bytes; the lease allows " +
                                         std::to_string(options_.max_arena_bytes)};
  }
  return std::nullopt;
}

}  // namespace sublet::transport
