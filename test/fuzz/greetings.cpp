// How every transport opens a channel: what a client, and what an executor, says first.

#include "target.hpp"
#include <transport/common/doorkeeper.hpp>
#include <transport/fabric/fabric_wire.hpp>
#include <transport/shm/shm_wire.hpp>
#include <transport/tcp/tcp_wire.hpp>
#include <transport/verbs/verbs_wire.hpp>
#include <wire/limits.hpp>

#include <array>

namespace sublet::fuzz {
namespace {

using namespace transport;

constexpr std::uint32_t kWorkers = 4;
constexpr std::uint64_t kMostArena = 1u << 20;

/// What it asks for is looked at once it proves that it may ask.
void greet(Greeting greeting, std::uint32_t version) {
  ListenOptions options;
  options.token = {1, 2, 3};
  options.workers = kWorkers;
  options.max_slots = wire::kMaxSlots;
  options.max_arena_bytes = kMostArena;
  const MayTake any = [](std::uint32_t) { return true; };
  const Proof proof = client_proof(options.token, options.generation, greeting);
  const bool proved = same_proof(greeting.proof, proof);
  require(Doorkeeper(options).why_refused(greeting, version, any).has_value() || proved,
          "somebody without the token is welcome");
  greeting.proof = proof;
  if (Doorkeeper(options).why_refused(greeting, version, any)) return;
  require(greeting.worker < kWorkers, "a worker that is none is given away");
  require(greeting.slots > 0 && greeting.slots <= wire::kMaxSlots, "slots beyond the limit");
  require(greeting.arena_size <= kMostArena, "an arena beyond the limit");
}

template <class Answer>
void answer(Answer answer) {
  ConnectOptions options;
  options.address = "127.0.0.1:1";
  (void)error_in(options, Greeting{}, answer);
  require(answer.reason().size() <= answer.text.size(), "a reason longer than its field");
}

/// verbs: words of 32 bits that travel with each message, and places in memory.
void verbs_words(Pieces& pieces) {
  const auto word = pieces.take<std::uint32_t>();
  const auto request = verbs::RequestWord::decode(word);
  require(request.encode() == word, "a request's word changes when it is read");
  require(request.function <= 0xffff && request.output <= verbs::kOutputPlaced, "beyond its bits");
  const auto reply = verbs::ReplyWord::decode(word);
  require(reply.slot < wire::kMaxSlots, "a slot beyond all slots");
  (void)verbs::unpack_time(reply.packed_time);
  const auto welcome = pieces.take<verbs::Welcome>();
  if (!welcome.is_sane()) return;
  const verbs::ServerLayout layout{wire::kMaxSlots, welcome.slot_payload};
  require(layout.size() < std::size_t{1} << 30,
          "an executor's welcome makes a client ask for much");
}

void run(std::span<const std::byte> input) {
  Pieces pieces(input);
  switch (pieces.take<std::uint8_t>() % 9) {
    case 0:
      return greet(pieces.take<shm::Hello>(), shm::kVersion);
    case 1:
      return greet(pieces.take<tcp::Hello>(), tcp::kVersion);
    case 2:
      return greet(pieces.take<fabric::Hello>(), fabric::kVersion);
    case 3:
      return greet(pieces.take<verbs::Hello>(), verbs::kVersion);
    case 4:
      return answer(pieces.take<shm::Welcome>());
    case 5:
      return answer(pieces.take<Answer>());
    case 6:
      return answer(pieces.take<fabric::Welcome>());
    case 7:
      return answer(pieces.take<verbs::Rejection>());
    default:
      return verbs_words(pieces);
  }
}

template <class T>
Bytes seed(std::uint8_t which, const T& value) {
  Bytes bytes = bytes_of_value(which);
  const Bytes rest = bytes_of_value(value);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

std::vector<Bytes> seeds() {
  const auto greeting = [](std::uint32_t magic, std::uint32_t version) {
    return Greeting{magic, version, 7, {}, 1, 16, 4096};
  };
  return {seed(0, shm::Hello{greeting(shm::kMagic, shm::kVersion), 1, 0}),
          seed(1, greeting(tcp::kMagic, tcp::kVersion)),
          seed(2, greeting(fabric::kMagic, fabric::kVersion)),
          seed(3, verbs::Hello{greeting(verbs::kMagic, verbs::kVersion), 0, 0, 0}),
          seed(4, shm::Welcome{Answer::of(Status::kOk), 1}),
          seed(5, Answer::of(Status::kDenied, "the token is not the one")),
          seed(7, verbs::Rejection::of(Status::kAgain, "later"))};
}

const Registered registered({"greetings", run, seeds});

}  // namespace
}  // namespace sublet::fuzz
