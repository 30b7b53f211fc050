#pragma once

// clang-format off
// PROTOCOL  How every transport opens a channel. The client sends a Hello: a Greeting, and behind
//           it what its transport adds. The executor answers with an Answer. When its status is kOk
//           the rest of the transport's Welcome follows; else the text says why it refuses.
//           Neither sends the lease's token. Each proves that it has it, by a SipHash under it of
//           what was said, a nonce of this greeting, and which of the lease's executors is meant: who
//           holds a dead executor's address learns nothing that opens another channel, and cannot
//           answer for it. A greeting is taken once (doorkeeper.hpp).
//           shm: one packet of a Unix socket each way. tcp and fabric: on a TCP connection. verbs:
//           in the private data of the RDMA connection manager.
//
// STATES    The executor's side: accepted -> greeted (its Hello has come in time) -> welcomed, or
//           refused and closed.
//
// LIMITS    kMaxPending connections may wait to send their Hello, each at most kHelloTimeout.
//
// All numbers are little-endian. Everything here is hostile until checked.
// clang-format on

#include <sublet/result.hpp>
#include <transport/setup.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

namespace sublet::transport {

static_assert(std::endian::native == std::endian::little,
              "greetings are sent as they lie in memory, which is little-endian");

/// That somebody has a lease's token: SipHash-2-4 (Aumasson and Bernstein, 2012), whose key has a
/// token's size. A wrong one can be tried only by asking, so 64 bits are enough; more would not fit
/// the 56 bytes that the RDMA connection manager has.
using Proof = std::array<std::uint8_t, 8>;

/// What every Hello starts with.
struct Greeting {
  std::uint32_t magic;    ///< The transport's.
  std::uint32_t version;  ///< Of the transport's protocol.
  std::uint64_t nonce;    ///< Random, of this greeting alone.
  Proof proof;            ///< The client's.
  std::uint32_t worker;
  std::uint32_t slots;
  std::uint64_t arena_size;
};
static_assert(sizeof(Greeting) == 40);

inline constexpr std::uint32_t kAnswerMagic = 0x4154'4c53;  // "SLTA"

/// What every Welcome starts with.
template <std::size_t kTextBytes>
struct AnswerOf {
  std::uint32_t magic;
  Proof proof;          ///< The executor's, when it is kOk.
  std::uint8_t status;  ///< sublet::Status; anything but kOk is a refusal.
  /// Why it refuses, zero-terminated.
  std::array<char, kTextBytes> text;

  static AnswerOf of(Status status, const std::string& why = {}) {
    AnswerOf answer{};
    answer.magic = kAnswerMagic;
    answer.status = static_cast<std::uint8_t>(status);
    why.copy(answer.text.data(), answer.text.size() - 1);
    return answer;
  }
  /// The text up to its end, wherever the peer has put it.
  [[nodiscard]] std::string reason() const {
    return {text.begin(), std::find(text.begin(), text.end(), '\0')};
  }
};
using Answer = AnswerOf<243>;
static_assert(sizeof(Answer) == 256 && std::is_trivially_copyable_v<Answer>);

template <class T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& message) noexcept {
  return std::as_bytes(std::span<const T, 1>(&message, 1));
}
template <class T>
[[nodiscard]] std::span<std::byte> writable_bytes_of(T& message) noexcept {
  return std::as_writable_bytes(std::span<T, 1>(&message, 1));
}

/// Of the client that greets, and of the executor that answers this greeting. `generation`: which
/// of the lease's executors.
[[nodiscard]] Proof client_proof(const Token& token, std::uint32_t generation,
                                 const Greeting& greeting) noexcept;
[[nodiscard]] Proof executor_proof(const Token& token, std::uint32_t generation,
                                   const Greeting& greeting) noexcept;
/// Takes the same time wherever they differ.
[[nodiscard]] bool same_proof(const Proof& a, const Proof& b) noexcept;

/// The Answer of a welcome.
[[nodiscard]] Answer welcome_to(const ListenOptions& options, const Greeting& greeting);

/// Answers a connection that gets no channel. Never blocks: the client may be gone already.
void refuse(int socket, Status status, const std::string& text);

// ---- the client's side ----

/// kInvalid when no channel can have that number of slots.
Result<void> check_slots(std::uint32_t slots);

/// What a client says first; another one each time.
[[nodiscard]] Greeting greeting_for(std::uint32_t magic, std::uint32_t version,
                                    const ConnectOptions& options, std::uint64_t arena_size);

/// An answer, as far as it can be an error.
struct Answered {
  std::uint32_t magic;
  Status status;
  Proof proof;
  std::string reason{};
};
/// The error that the answer to `greeting` is; nothing for a welcome. kInvalid: whoever answers is
/// no executor, or not the one of this lease. kOverloaded: it may be asked again. Else kDenied,
/// with the executor's reason.
[[nodiscard]] std::optional<Error> error_in(const ConnectOptions& options, const Greeting& greeting,
                                            const Answered& answer);
template <std::size_t kTextBytes>
[[nodiscard]] std::optional<Error> error_in(const ConnectOptions& options, const Greeting& greeting,
                                            const AnswerOf<kTextBytes>& answer) {
  return error_in(
      options, greeting,
      Answered{answer.magic, static_cast<Status>(answer.status), answer.proof, answer.reason()});
}

/// No answer came: the executor ended, or `late`.
[[nodiscard]] Error not_answered(const ConnectOptions& options, bool late);

}  // namespace sublet::transport
