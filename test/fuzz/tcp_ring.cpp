// A channel over a socket: what a client sends to a worker, and a worker to a client.

#include "target.hpp"
#include <base/unix_socket.hpp>
#include <transport/arena.hpp>
#include <transport/tcp/tcp_client_datapath.hpp>
#include <transport/tcp/tcp_server_datapath.hpp>
#include <transport/tcp/tcp_wire.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <memory>

namespace sublet::fuzz {
namespace {

using namespace transport;

constexpr std::size_t kArena = 1u << 20;
constexpr int kMostCalls = 64;

/// Both ends of a stream that holds the input.
std::pair<base::Fd, base::Fd> stream_with(std::span<const std::byte> input) {
  std::array<int, 2> pair{};
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) == 0,
          "no sockets");
  (void)!::send(pair[0], input.data(), input.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return {base::Fd(pair[0]), base::Fd(pair[1])};
}

void run_requests(std::span<const std::byte> input) {
  auto [client, server] = stream_with(input);
  tcp::ServerChannel channel(std::make_shared<const tcp::Stream>(std::move(server)), {kArena, 1});
  ::shutdown(client.get(), SHUT_WR);
  for (int i = 0; i < kMostCalls && channel.is_open(); ++i) {
    Invocation invocation;
    if (!channel.poll(invocation)) continue;
    Completion completion;
    completion.status = invocation.verdict;
    if (invocation.verdict == Status::kOk) {
      // What a function may do: read all of the one, write all of the other.
      std::uint8_t sum = 0;
      for (std::uint64_t at = 0; at < invocation.in_size; ++at) {
        sum = static_cast<std::uint8_t>(sum + static_cast<const std::uint8_t*>(invocation.in)[at]);
      }
      if (invocation.out_capacity != 0) std::memset(invocation.out, sum, invocation.out_capacity);
      completion.size = std::min<std::uint64_t>(invocation.out_capacity, 64);
    }
    channel.complete(invocation, completion);
  }
}

void run_replies(std::span<const std::byte> input) {
  static const auto arena = Arena::create(kArena).value_or_throw();
  Pieces pieces(input);
  const auto capacity = pieces.take<std::uint16_t>();
  auto [server, client] = stream_with(pieces.rest());
  ::shutdown(server.get(), SHUT_WR);
  tcp::ClientTerms terms;
  terms.slots = 4;
  tcp::ClientChannel channel(tcp::Stream(std::move(client)), arena, terms);
  constexpr std::size_t kGuard = 64;
  auto* const place = static_cast<std::byte*>(arena->allocate(capacity + 2 * kGuard));
  std::memset(place, 0xd5, capacity + 2 * kGuard);
  std::array<Ticket, 3> tickets{};
  for (Ticket& ticket : tickets) {
    (void)channel.submit({nullptr, 0, place + kGuard, capacity, 1, false}, ticket);
  }
  for (const Ticket& ticket : tickets) {
    ReplyView reply;
    for (int i = 0; i < kMostCalls; ++i) {
      if (channel.poll(ticket, reply) == Status::kOk) break;
    }
    require(reply.status != Status::kOk || reply.size <= capacity, "a reply beyond its output");
    require(reply.error.size() <= 4096, "an error text without an end");
  }
  for (std::size_t at = 0; at < kGuard; ++at) {
    require(place[at] == std::byte{0xd5} && place[kGuard + capacity + at] == std::byte{0xd5},
            "a reply was written beside its output");
  }
  channel.close();
  arena->deallocate(place, capacity + 2 * kGuard);
}

Bytes with_payload(Bytes bytes, std::size_t size) {
  bytes.resize(bytes.size() + size, std::byte{7});
  return bytes;
}

std::vector<Bytes> request_seeds() {
  Bytes two = with_payload(bytes_of_value(tcp::RequestHeader{1, 7, 0, 8, 8}), 8);
  const Bytes next = bytes_of_value(tcp::RequestHeader{2, 7, tcp::kTraced, 0, 4096});
  two.insert(two.end(), next.begin(), next.end());
  Bytes large = bytes_of_value(tcp::RequestHeader{1, 7, 0, 5000, 0});
  large = with_payload(std::move(large), tcp::kPaddedHeader - sizeof(tcp::RequestHeader) + 5000);
  return {two, large};
}

std::vector<Bytes> reply_seeds() {
  std::vector<Bytes> all;
  const auto add = [&all](std::uint16_t capacity, const tcp::ReplyHeader& header,
                          std::size_t payload) {
    Bytes bytes = bytes_of_value(capacity);
    const Bytes head = bytes_of_value(header);
    bytes.insert(bytes.end(), head.begin(), head.end());
    all.push_back(with_payload(std::move(bytes), payload));
  };
  add(8, {1, 0, 0, 0, 8, 100}, 8);
  add(5000, {1, 0, 0, 0, 5000, 100}, tcp::kPaddedHeader - sizeof(tcp::ReplyHeader) + 5000);
  add(8, {1, static_cast<std::uint8_t>(Status::kCrashed), 0, 20, 0, 100}, 20);
  return all;
}

const Registered requests({"tcp_requests", run_requests, request_seeds});
const Registered replies({"tcp_replies", run_replies, reply_seeds});

}  // namespace
}  // namespace sublet::fuzz
