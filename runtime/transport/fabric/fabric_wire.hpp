#pragma once

// clang-format off
// PROTOCOL  A channel has a link and an endpoint. The link is a TCP connection: it carries the
//           set-up, the replies of a dying worker, and by its end each side learns of the other's
//           death, which most providers do not report. The endpoint carries the calls.
//
//           Set-up, over the link: the client sends a Hello, the executor answers with a Welcome
//           that names the provider, the kind and the address of its endpoint, or refuses. The
//           client connects its endpoint (kConnected: by fi_connect, presenting the Welcome's
//           nonce) and both send their Keys. Later only Dying travels, from the executor.
//
//           Call n (a 32-bit number, from 1, wrapping) uses slot n mod N of two rings, each in the
//           memory of the side that reads it. A request is one write of a RequestSlot's first
//           bytes into the worker's ring with n as the remote completion's data; a reply is one
//           write of a ReplySlot's first bytes into the client's ring, with n again. Payloads
//           beyond what is inline lie in the client's arena and, at the same offset, in the
//           worker's mirror of it: the client writes an input there before the request (in the
//           same operation where the provider can), the worker writes an output from there into
//           the arena before the reply. What the worker has not registered yet it reads from the
//           arena itself (kFetch), and then tells the client of the larger region with the reply.
//
// STATES    A slot, for the client: free -> unsent -> under way -> arrived (its completion was
//           read) -> free. For the worker: expected -> arrived -> (input being fetched) ->
//           running -> replied.
//
// LIMITS    Slots: a power of two up to wire::kMaxSlots. Error text: kErrorBytes. The mirror: the
//           arena's size, itself limited by the lease. Both ends are little-endian; another byte
//           order shows as a wrong magic number.
//
// Everything from the other side is hostile: sizes, offsets and slots are copied once, and the copy
// is checked.
// clang-format on

#include <transport/common/call_lines.hpp>
#include <transport/common/greeting.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sublet::transport::fabric {

inline constexpr std::uint32_t kMagic = 0x5342'4c46;
inline constexpr std::uint32_t kVersion = 3;
inline constexpr std::size_t kErrorBytes = 512;
inline constexpr std::size_t kMaxAddress = 128;
inline constexpr std::size_t kMaxProviderName = 64;

using Nonce = std::array<std::uint8_t, 16>;

/// How an endpoint finds its peer.
enum class EndpointKind : std::uint8_t {
  kConnected = 1,       ///< FI_EP_MSG: a connection.
  kConnectionless = 2,  ///< FI_EP_RDM: an address.
};

/// A piece of registered memory as its peer names it.
struct Region {
  std::uint64_t address;
  std::uint64_t key;
  std::uint64_t size;
};

// ---- over the link ----

/// It says no more than every Hello does.
using Hello = Greeting;

struct Welcome : Answer {
  std::uint8_t kind;  ///< EndpointKind.
  std::uint8_t unused;
  std::uint16_t address_size;
  Nonce nonce;
  std::array<char, kMaxProviderName> provider;  ///< Zero-terminated.
  std::array<std::byte, kMaxAddress> address;
};
static_assert(sizeof(Welcome) == 468 && std::is_trivially_copyable_v<Welcome>);

/// What the other side may write to and read from.
struct Keys {
  std::uint32_t magic;
  std::uint16_t address_size;  ///< Of the client's endpoint when it is connectionless, else 0.
  std::uint16_t unused;
  Region ring;
  Region payload;  ///< The client's arena, the worker's mirror: what is registered of it.
  std::array<std::byte, kMaxAddress> address;
};
static_assert(sizeof(Keys) == 184);

/// The reply of a worker that cannot use its endpoint any more: it is in a signal handler.
struct Dying {
  std::uint32_t sequence;
  std::uint8_t status;
  std::uint8_t unused;
  std::uint16_t error_size;
  std::array<char, kErrorBytes> text;
};
static_assert(sizeof(Dying) == 520);

// ---- over the endpoint ----

// Flags of a RequestLine beside the common ones.
inline constexpr std::uint16_t kFetch = kFirstOwnFlag;  ///< The input is in the arena only.
/// `arena` replaces what the worker knew. Also of a ReplyLine, for `mirror` and the client.
inline constexpr std::uint16_t kNewRegion = 2 * kFirstOwnFlag;

/// What lies in the worker's ring. Only as many of its first bytes travel as say something.
struct alignas(128) RequestSlot {
  RequestLine line;
  Region arena;  ///< With kNewRegion.
};
static_assert(sizeof(RequestSlot) == 128);

/// What lies in the client's ring.
struct alignas(128) ReplySlot {
  ReplyLine line;
  Region mirror;  ///< With kNewRegion it replaces what the client knew.
  std::array<char, kErrorBytes> error;
};
static_assert(sizeof(ReplySlot) == 640);

/// A line without its body.
inline constexpr std::size_t kHeadBytes = offsetof(RequestLine, body);
static_assert(kHeadBytes == 24 && offsetof(ReplyLine, body) == kHeadBytes);

}  // namespace sublet::transport::fabric
