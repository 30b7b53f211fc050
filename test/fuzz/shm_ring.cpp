// The memory that a client and a worker share, written by the other side. The lines are those of
// the fabric transport too (transport/common/call_lines.hpp).

#include "target.hpp"
#include "unit/transport/shm_pair.hpp"

#include <algorithm>
#include <array>

namespace sublet::fuzz {
namespace {

using namespace transport;

constexpr std::uint32_t kSlots = 4;
constexpr std::size_t kArena = 2u << 20;

shm::ShmPair& fresh_pair(std::unique_ptr<shm::ShmPair>& pair) {
  pair = std::make_unique<shm::ShmPair>(shm::Terms{kSlots, shm::FenceMode::kSymmetric},
                                        WaitPolicy{}, kArena);
  return *pair;
}

bool within(const void* pointer, std::uint64_t size, const std::byte* base, std::size_t length) {
  const auto offset =
      reinterpret_cast<std::uintptr_t>(pointer) - reinterpret_cast<std::uintptr_t>(base);
  return offset <= length && size <= length - offset;
}

void run_requests(std::span<const std::byte> input) {
  std::unique_ptr<shm::ShmPair> owner;
  shm::ShmPair& pair = fresh_pair(owner);
  auto* const ring = shm::at<shm::Slot>(pair.memory->data(), pair.layout.ring());
  Pieces pieces(input);
  for (std::uint32_t sequence = 1; !pieces.empty(); ++sequence) {
    shm::Slot& slot = ring[sequence % kSlots];
    const auto line = pieces.take<RequestLine>();
    std::memcpy(static_cast<void*>(&slot.request), &line, sizeof(line));
    // The right number, or one that the input has.
    if (line.sequence % 8 != 0) {
      shm::store_release(slot.request.sequence, sequence | shm::kRequestMark);
    }
    Invocation invocation;
    if (!pair.server.poll(invocation)) return;
    if (invocation.verdict != Status::kOk) {
      require(invocation.in == nullptr && invocation.out == nullptr,
              "refused, and it names memory");
    } else {
      require(within(invocation.in, invocation.in_size, pair.arena->data(), pair.arena->size()) ||
                  invocation.in_size <= kInlineBytes,
              "an input outside of the arena");
      require(invocation.out_is_inline ? invocation.out_capacity <= kInlineBytes
                                       : within(invocation.out, invocation.out_capacity,
                                                pair.arena->data(), pair.arena->size()),
              "an output outside of the arena");
    }
    pair.server.complete(invocation, {invocation.verdict, 0, 0, 0, 0, "refused"});
  }
}

void run_replies(std::span<const std::byte> input) {
  std::unique_ptr<shm::ShmPair> owner;
  shm::ShmPair& pair = fresh_pair(owner);
  auto* const ring = shm::at<shm::Slot>(pair.memory->data(), pair.layout.ring());
  Pieces pieces(input);
  const std::size_t capacity = pieces.take<std::uint8_t>();
  std::array<std::byte, 512> guarded;
  while (!pieces.empty()) {
    guarded.fill(std::byte{0xd5});
    std::byte* const out = capacity <= kInlineBytes ? guarded.data() + 64 : pair.arena->data() + 64;
    Ticket ticket;
    if (pair.client.submit({nullptr, 0, out, capacity, 1, false}, ticket) != Status::kOk) return;
    const auto line = pieces.take<ReplyLine>();
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      if (shm::load_acquire(ring[i].reply.sequence) != (ticket.sequence | shm::kRequestMark)) {
        continue;
      }
      std::memcpy(static_cast<void*>(&ring[i].reply), &line, sizeof(line));
      shm::store_release(ring[i].reply.sequence, ticket.sequence);
    }
    ReplyView reply;
    if (pair.client.poll(ticket, reply) != Status::kOk) return;
    require(reply.status != Status::kOk || reply.size <= capacity, "a reply beyond its output");
    require(reply.error.size() <= shm::kErrorBytes, "an error text without an end");
    require(std::all_of(guarded.begin(), guarded.begin() + 64,
                        [](std::byte b) { return b == std::byte{0xd5}; }) &&
                std::all_of(guarded.begin() + 64 + kInlineBytes, guarded.end(),
                            [](std::byte b) { return b == std::byte{0xd5}; }),
            "a reply was written beside its output");
  }
}

std::vector<Bytes> request_seeds() {
  RequestLine line{};
  line.sequence = 1;
  line.flags = kInputInline | kOutputInline;
  line.in_size = 8;
  line.out_capacity = 8;
  RequestLine large{};
  large.sequence = 1;
  large.in_size = 4096;
  large.out_capacity = 4096;
  Bytes both = bytes_of_value(line);
  const Bytes next = bytes_of_value(large);
  both.insert(both.end(), next.begin(), next.end());
  return {both};
}

std::vector<Bytes> reply_seeds() {
  std::vector<Bytes> all;
  for (const std::uint8_t capacity : {std::uint8_t{8}, std::uint8_t{200}}) {
    ReplyLine line{};
    line.size = 8;
    Bytes bytes = bytes_of_value(capacity);
    const Bytes good = bytes_of_value(line);
    line.status = static_cast<std::uint8_t>(Status::kCrashed);
    line.error_size = 5;
    const Bytes bad = bytes_of_value(line);
    bytes.insert(bytes.end(), good.begin(), good.end());
    bytes.insert(bytes.end(), bad.begin(), bad.end());
    all.push_back(bytes);
  }
  return all;
}

const Registered requests({"shm_requests", run_requests, request_seeds});
const Registered replies({"shm_replies", run_replies, reply_seeds});

}  // namespace
}  // namespace sublet::fuzz
