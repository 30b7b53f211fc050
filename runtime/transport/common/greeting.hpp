#pragma once

// clang-format off
// PROTOCOL  How every transport opens a channel. The client sends a Hello: a Greeting, and behind
//           it what its transport adds. The executor answers with an Answer. When its status is kOk
//           the rest of the transport's Welcome follows; else the text says why it refuses.
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

/// What every Hello starts with.
struct Greeting {
  std::uint32_t magic;    ///< The transport's.
  std::uint32_t version;  ///< Of the transport's protocol.
  Token token;
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
using Answer = AnswerOf<251>;
static_assert(sizeof(Answer) == 256 && std::is_trivially_copyable_v<Answer>);

template <class T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& message) noexcept {
  return std::as_bytes(std::span<const T, 1>(&message, 1));
}
template <class T>
[[nodiscard]] std::span<std::byte> writable_bytes_of(T& message) noexcept {
  return std::as_writable_bytes(std::span<T, 1>(&message, 1));
}

struct Refusal {
  Status status = Status::kDenied;
  std::string text;
};

/// Why a client may not have what it asks for; nothing when it may. The token is looked at before
/// anything that would tell of the lease.
[[nodiscard]] std::optional<Refusal> why_refused(const Greeting& greeting, std::uint32_t version,
                                                 const ListenOptions& options,
                                                 const MayTake& may_take);

/// Answers a connection that gets no channel. Never blocks: the client may be gone already.
void refuse(int socket, Status status, const std::string& text);

// ---- the client's side ----

/// kInvalid when no channel can have that number of slots.
Result<void> check_slots(std::uint32_t slots);

/// What a client says first.
[[nodiscard]] Greeting greeting_for(std::uint32_t magic, std::uint32_t version,
                                    const ConnectOptions& options, std::uint64_t arena_size);

/// The error that an answer is; nothing for a welcome. kInvalid: whoever answers is no executor.
/// kOverloaded: it may be asked again. Else kDenied, with the executor's reason.
[[nodiscard]] std::optional<Error> error_in(const ConnectOptions& options, std::uint32_t magic,
                                            Status status, const std::string& reason);
template <std::size_t kTextBytes>
[[nodiscard]] std::optional<Error> error_in(const ConnectOptions& options,
                                            const AnswerOf<kTextBytes>& answer) {
  return error_in(options, answer.magic, static_cast<Status>(answer.status), answer.reason());
}

/// No answer came: the executor ended, or `late`.
[[nodiscard]] Error not_answered(const ConnectOptions& options, bool late);

}  // namespace sublet::transport
