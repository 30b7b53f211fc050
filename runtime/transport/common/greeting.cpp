#include <transport/common/greeting.hpp>
#include <wire/limits.hpp>

#include <sodium/crypto_shorthash.h>
#include <sodium/randombytes.h>
#include <sodium/utils.h>
#include <sys/socket.h>

namespace sublet::transport {
namespace {

enum class Prover : std::uint32_t { kClient = 1, kExecutor = 2 };

static_assert(crypto_shorthash_KEYBYTES == kTokenBytes);
static_assert(crypto_shorthash_BYTES == sizeof(Proof));

Proof proof_of(Prover prover, const Token& token, std::uint32_t generation,
               const Greeting& greeting) noexcept {
  struct Said {
    Prover prover;
    std::uint32_t generation;
    Greeting greeting;
  } said{prover, generation, greeting};
  said.greeting.proof = {};
  Proof proof;
  crypto_shorthash(proof.data(), reinterpret_cast<const unsigned char*>(&said), sizeof(said),
                   token.data());
  return proof;
}

std::string worker_of(const ConnectOptions& options) {
  return "worker " + std::to_string(options.worker);
}

}  // namespace

Proof client_proof(const Token& token, std::uint32_t generation,
                   const Greeting& greeting) noexcept {
  return proof_of(Prover::kClient, token, generation, greeting);
}

Proof executor_proof(const Token& token, std::uint32_t generation,
                     const Greeting& greeting) noexcept {
  return proof_of(Prover::kExecutor, token, generation, greeting);
}

bool same_proof(const Proof& a, const Proof& b) noexcept {
  return sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

Answer welcome_to(const ListenOptions& options, const Greeting& greeting) {
  Answer answer = Answer::of(Status::kOk);
  answer.proof = executor_proof(options.token, options.generation, greeting);
  return answer;
}

void refuse(int socket, Status status, const std::string& text) {
  const Answer answer = Answer::of(status, text);
  (void)::send(socket, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

Result<void> check_slots(std::uint32_t slots) {
  if (std::has_single_bit(slots) && slots <= wire::kMaxSlots) return {};
  return fail(ErrorKind::kInvalid, "a channel has a power of two of slots up to " +
                                       std::to_string(wire::kMaxSlots) + "; asked for were " +
                                       std::to_string(slots));
}

Greeting greeting_for(std::uint32_t magic, std::uint32_t version, const ConnectOptions& options,
                      std::uint64_t arena_size) {
  Greeting greeting{magic, version, 0, {}, options.worker, options.slots, arena_size};
  randombytes_buf(&greeting.nonce, sizeof(greeting.nonce));
  greeting.proof = client_proof(options.token, options.generation, greeting);
  return greeting;
}

std::optional<Error> error_in(const ConnectOptions& options, const Greeting& greeting,
                              const Answered& answer) {
  if (answer.magic != kAnswerMagic) {
    return Error(ErrorKind::kInvalid, "what listens at '" + options.address + "' is no executor");
  }
  if (answer.status != Status::kOk) {
    return Error(answer.status == Status::kAgain ? ErrorKind::kOverloaded : ErrorKind::kDenied,
                 worker_of(options) + " refused the connection: " + answer.reason);
  }
  if (same_proof(answer.proof, executor_proof(options.token, options.generation, greeting))) {
    return std::nullopt;
  }
  return Error(ErrorKind::kInvalid,
               "what listens at '" + options.address +
                   "' is not the executor of this lease, whose address it was");
}

Error not_answered(const ConnectOptions& options, bool late) {
  const std::string text = late ? worker_of(options) + " did not answer a request to connect to '" +
                                      options.address + "' in time; is its executor stopped?"
                                : "the executor at '" + options.address + "' ended while " +
                                      worker_of(options) + " was being connected";
  return Error(ErrorKind::kDisconnected, text);
}

}  // namespace sublet::transport
