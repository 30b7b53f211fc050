#include <transport/common/greeting.hpp>
#include <wire/limits.hpp>

#include <sys/socket.h>

namespace sublet::transport {
namespace {

bool usable_slots(std::uint32_t slots, std::uint32_t most) noexcept {
  return std::has_single_bit(slots) && slots <= most;
}

std::string worker_of(const ConnectOptions& options) {
  return "worker " + std::to_string(options.worker);
}

}  // namespace

std::optional<Refusal> why_refused(const Greeting& greeting, std::uint32_t version,
                                   const ListenOptions& options, const MayTake& may_take) {
  if (greeting.version != version) {
    return Refusal{Status::kInvalid,
                   "the client speaks version " + std::to_string(greeting.version) +
                       " of the protocol, this executor version " + std::to_string(version)};
  }
  if (!same_token(greeting.token, options.token)) {
    return Refusal{Status::kDenied, "the token is not the one of this lease"};
  }
  if (greeting.worker >= options.workers) {
    return Refusal{Status::kInvalid, "there is no worker " + std::to_string(greeting.worker) +
                                         "; the lease has " + std::to_string(options.workers)};
  }
  if (!usable_slots(greeting.slots, options.max_slots)) {
    return Refusal{Status::kInvalid, std::to_string(greeting.slots) +
                                         " slots were asked for; a power of two up to " +
                                         std::to_string(options.max_slots) + " can be had"};
  }
  if (!may_take(greeting.worker)) {
    return Refusal{Status::kDenied,
                   "worker " + std::to_string(greeting.worker) + " has a channel already"};
  }
  if (greeting.arena_size > options.max_arena_bytes) {
    return Refusal{Status::kInvalid, "the arena has " + std::to_string(greeting.arena_size) +
                                         " bytes; the lease allows " +
                                         std::to_string(options.max_arena_bytes)};
  }
  return std::nullopt;
}

void refuse(int socket, Status status, const std::string& text) {
  const Answer answer = Answer::of(status, text);
  (void)::send(socket, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

Result<void> check_slots(std::uint32_t slots) {
  if (usable_slots(slots, wire::kMaxSlots)) return {};
  return fail(ErrorKind::kInvalid, "a channel has a power of two of slots up to " +
                                       std::to_string(wire::kMaxSlots) + "; asked for were " +
                                       std::to_string(slots));
}

Greeting greeting_for(std::uint32_t magic, std::uint32_t version, const ConnectOptions& options,
                      std::uint64_t arena_size) {
  return {magic, version, options.token, options.worker, options.slots, arena_size};
}

std::optional<Error> error_in(const ConnectOptions& options, std::uint32_t magic, Status status,
                              const std::string& reason) {
  if (magic != kAnswerMagic) {
    return Error(ErrorKind::kInvalid, "what listens at '" + options.address + "' is no executor");
  }
  if (status == Status::kOk) return std::nullopt;
  return Error(status == Status::kAgain ? ErrorKind::kOverloaded : ErrorKind::kDenied,
               worker_of(options) + " refused the connection: " + reason);
}

Error not_answered(const ConnectOptions& options, bool late) {
  const std::string text = late ? worker_of(options) + " did not answer a request to connect to '" +
                                      options.address + "' in time; is its executor stopped?"
                                : "the executor at '" + options.address + "' ended while " +
                                      worker_of(options) + " was being connected";
  return Error(ErrorKind::kDisconnected, text);
}

}  // namespace sublet::transport
