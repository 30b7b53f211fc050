#pragma once

// Sending and receiving the messages of executor_protocol.hpp: one packet each.

#include <base/fd.hpp>
#include <base/unix_socket.hpp>
#include <wire/executor_protocol.hpp>

#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace sublet::wire {

/// Room for every message of the protocol.
inline constexpr std::size_t kMaxExecutorMessage = sizeof(MessageHeader) + sizeof(Spawn);

/// A message as it goes onto the socket: without the padding that a struct of both would have.
template <class Body>
[[nodiscard]] auto pack_message(MessageType type, const Body& body) noexcept {
  static_assert(std::is_trivially_copyable_v<Body>);
  const MessageHeader header{type, sizeof(Body)};
  std::array<std::byte, sizeof(header) + sizeof(Body)> packet;
  std::memcpy(packet.data(), &header, sizeof(header));
  std::memcpy(packet.data() + sizeof(header), &body, sizeof(Body));
  return packet;
}

template <class Body>
[[nodiscard]] Result<void> send_message(int socket, MessageType type, const Body& body,
                                        std::span<const int> fds = {}) {
  return base::send_packet(socket, pack_message(type, body), fds);
}

[[nodiscard]] inline Result<void> send_message(int socket, MessageType type) {
  const MessageHeader header{type, 0};
  return base::send_packet(socket, std::as_bytes(std::span(&header, 1)));
}

/// A message as it came; the body is not looked at yet.
struct ReceivedMessage {
  MessageType type{};
  std::vector<std::byte> body;
  std::vector<base::Fd> fds;

  /// The body as a Body; nothing when it has another size.
  template <class Body>
  [[nodiscard]] std::optional<Body> as() const {
    static_assert(std::is_trivially_copyable_v<Body>);
    if (body.size() != sizeof(Body)) return std::nullopt;
    Body value;
    std::memcpy(&value, body.data(), sizeof(Body));
    return value;
  }
};

/// kDisconnected when the peer has closed, kInvalid when what came is no message, kOverloaded when
/// nothing came within `timeout` (negative: as the socket's own mode says).
[[nodiscard]] inline Result<ReceivedMessage> receive_message(
    int socket, std::chrono::milliseconds timeout = std::chrono::milliseconds(-1)) {
  alignas(std::uint64_t) std::array<std::byte, kMaxExecutorMessage> buffer;
  auto packet = base::receive_packet(socket, buffer, timeout);
  if (!packet) return tl::unexpected<Error>(std::move(packet.error()));
  if (packet->size == 0) return fail(ErrorKind::kDisconnected, "the peer has closed its socket");
  MessageHeader header{};
  if (packet->size >= sizeof(header)) std::memcpy(&header, buffer.data(), sizeof(header));
  if (packet->size < sizeof(header) || header.size != packet->size - sizeof(header)) {
    return fail(ErrorKind::kInvalid, "a packet of " + std::to_string(packet->size) +
                                         " bytes is no message of the executor protocol");
  }
  return ReceivedMessage{header.type,
                         {buffer.data() + sizeof(header), buffer.data() + packet->size},
                         std::move(packet->fds)};
}

/// Copies `text` into a field of a message, cut to its size and always zero-terminated.
template <std::size_t N>
void set_text(std::array<char, N>& field, std::string_view text) noexcept {
  const std::size_t size = text.size() < N ? text.size() : N - 1;
  std::memcpy(field.data(), text.data(), size);
  field[size] = '\0';
}

/// A text field of a message from a peer that may have left out the zero.
template <std::size_t N>
[[nodiscard]] std::string_view text_of(const std::array<char, N>& field) noexcept {
  return {field.data(), ::strnlen(field.data(), N)};
}

}  // namespace sublet::wire
