#include <transport/setup.hpp>

#include <algorithm>
#include <bit>

namespace sublet::transport {

bool usable_slots(std::uint32_t slots, std::uint32_t most) noexcept {
  return std::has_single_bit(slots) && slots <= most;
}

std::chrono::milliseconds left_until(std::chrono::steady_clock::time_point end) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

std::optional<Refusal> why_refused(const Wish& wish, std::uint32_t version,
                                   const ListenOptions& options, const MayTake& may_take) {
  if (wish.version != version) {
    return Refusal{Status::kInvalid, "the client speaks version " + std::to_string(wish.version) +
                                         " of the protocol, this executor version " +
                                         std::to_string(version)};
  }
  if (!same_token(wish.token, options.token)) {
    return Refusal{Status::kDenied, "the token is not the one of this lease"};
  }
  if (wish.worker >= options.workers) {
    return Refusal{Status::kInvalid, "there is no worker " + std::to_string(wish.worker) +
                                         "; the lease has " + std::to_string(options.workers)};
  }
  if (!usable_slots(wish.slots, options.max_slots)) {
    return Refusal{Status::kInvalid, std::to_string(wish.slots) +
                                         " slots were asked for; a power of two up to " +
                                         std::to_string(options.max_slots) + " can be had"};
  }
  if (!may_take(wish.worker)) {
    return Refusal{Status::kDenied,
                   "worker " + std::to_string(wish.worker) + " has a channel already"};
  }
  if (wish.arena_size > options.max_arena_bytes) {
    return Refusal{Status::kInvalid, "the arena has " + std::to_string(wish.arena_size) +
                                         " bytes; the lease allows " +
                                         std::to_string(options.max_arena_bytes)};
  }
  return std::nullopt;
}

}  // namespace sublet::transport
