// A client that speaks the protocol wrongly, with an endpoint of its own.

#include "fabric_pair.hpp"
#include "support/proved_greeting.hpp"

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <limits>

namespace sublet::transport::fabric {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class FabricHostileClient : public FabricPair {
 protected:
  void SetUp() override {
    FabricPair::SetUp();
    listen();
  }

  [[nodiscard]] base::Fd link() const {
    const auto address = HostPort::parse(listener_->address()).value_or_throw();
    return connect_to(address, steady_clock::now() + seconds(20)).value_or_throw();
  }

  [[nodiscard]] static Hello good_hello() {
    return proved(Hello{kMagic, kVersion, 0, {}, 0, 16, std::uint64_t{2} << 20}, kToken);
  }

  /// What the listener answers to these bytes; a magic of 0 when it closes.
  Welcome answer_to(std::span<const std::byte> bytes) {
    const base::Fd socket = link();
    EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    Welcome welcome{};
    std::size_t size = 0;
    bool ended = false;
    serve_until([&] {
      const auto got = receive_some(socket.get(), writable_bytes_of(welcome).subspan(size));
      size += got.size;
      ended = got.ended;
      return ended || size == sizeof(welcome);
    });
    return welcome;
  }

  /// Sets up by hand a channel whose peer is this test.
  void set_up(const Region* payload = nullptr) {
    side_ = std::make_unique<Side>();
    side_->slots = 16;
    side_->link = std::make_shared<base::Fd>(link());
    Hello hello = good_hello();
    ASSERT_EQ(::send(side_->link->get(), &hello, sizeof(hello), 0), ssize_t{sizeof(hello)});
    Welcome welcome{};
    std::size_t size = 0;
    serve_until([&] {
      size += receive_some(side_->link->get(), writable_bytes_of(welcome).subspan(size)).size;
      return size == sizeof(welcome);
    });
    ASSERT_EQ(welcome.status, static_cast<std::uint8_t>(Status::kOk)) << welcome.text.data();
    auto provider = find_provider("tcp", EndpointKind::kConnected, {}).value_or_throw();
    side_->endpoint = Endpoint::open(provider, 16).value_or_throw();
    ASSERT_TRUE(side_->endpoint->create(nullptr));
    ASSERT_TRUE(
        side_->endpoint->connect_to({welcome.address.data(), welcome.address_size}, welcome.nonce));
    serve_until([&] {
      const auto there = side_->endpoint->connected(std::chrono::milliseconds(0));
      return !there || *there;
    });
    ASSERT_TRUE(prepare_memory(*side_, sizeof(RequestSlot), sizeof(ReplySlot), arena_->data(),
                               arena_->size()));
    Keys keys = keys_of(*side_, sizeof(RequestSlot)).value_or_throw();
    if (payload != nullptr) keys.payload = *payload;
    ASSERT_EQ(::send(side_->link->get(), &keys, sizeof(keys), 0), ssize_t{sizeof(keys)});
    serve_until([&] { return server_ != nullptr; });
    size = 0;
    serve_until([&] {
      size += receive_some(side_->link->get(), writable_bytes_of(side_->peer).subspan(size)).size;
      return size == sizeof(Keys);
    });
  }

  /// Writes a request as it is into the ring, with this number.
  void write(const RequestSlot& request, std::uint32_t number) {
    auto* const slot = reinterpret_cast<RequestSlot*>(side_->rings.data());
    std::memcpy(slot, &request, sizeof(request));
    Message message;
    message.head = slot;
    message.head_size = offsetof(RequestSlot, arena) + sizeof(Region);
    message.head_descriptor = side_->ring_memory.descriptor;
    message.head_address = side_->peer.ring.address + (number % 16) * sizeof(RequestSlot);
    message.head_key = side_->peer.ring.key;
    message.number = number;
    message.operations = &operations_;
    ASSERT_EQ(side_->endpoint->post(message, false), 0);
  }

  /// Expects that the request is handed out as invalid, naming no memory.
  void expect_invalid(RequestSlot request, const char* what) {
    request.line.sequence = number_;
    write(request, number_++);
    Invocation invocation;
    ASSERT_TRUE(next(invocation)) << what;
    EXPECT_EQ(invocation.verdict, Status::kInvalid) << what;
    EXPECT_EQ(invocation.in, nullptr) << what;
    EXPECT_EQ(invocation.out, nullptr) << what;
    Completion completion;
    completion.status = Status::kInvalid;
    completion.error = "no";
    server_->complete(invocation, completion);
  }

  /// A request with input and output in the arena.
  static RequestSlot request(std::uint64_t in_offset, std::uint64_t in_size,
                             std::uint64_t out_offset, std::uint64_t out_capacity) {
    RequestSlot slot{};
    slot.line.in_size = in_size;
    slot.line.out_capacity = out_capacity;
    std::memcpy(slot.line.body.data() + kInputOffsetAt, &in_offset, 8);
    std::memcpy(slot.line.body.data() + kOutputOffsetAt, &out_offset, 8);
    return slot;
  }

  std::unique_ptr<Side> side_;
  MessageOperations operations_;
  std::uint32_t number_ = 1;
};

TEST_F(FabricHostileClient, IsRefusedWithAWrongMagicVersionOrToken) {
  Hello hello = good_hello();
  hello.magic ^= 1;
  EXPECT_NE(std::string(answer_to(writable_bytes_of(hello)).text.data()).find("malformed"),
            std::string::npos);
  hello = good_hello();
  hello.version = 77;
  EXPECT_NE(std::string(answer_to(writable_bytes_of(hello)).text.data()).find("version 77"),
            std::string::npos);
  hello = good_hello();
  hello.proof[7] ^= 1;
  const Welcome welcome = answer_to(writable_bytes_of(hello));
  EXPECT_EQ(welcome.status, static_cast<std::uint8_t>(Status::kDenied));
  EXPECT_EQ(welcome.address_size, 0) << "the endpoint's address was given away";
  EXPECT_EQ(server_, nullptr);
}

TEST_F(FabricHostileClient, IsRefusedAnArenaOfNothing) {
  Hello hello = good_hello();
  hello.arena_size = 0;
  hello = proved(hello, kToken);
  EXPECT_NE(answer_to(writable_bytes_of(hello)).status, static_cast<std::uint8_t>(Status::kOk));
}

TEST_F(FabricHostileClient, LosesItsPlaceWhenItConnectsWithoutTheNonce) {
  Hello hello = good_hello();
  const base::Fd socket = link();
  ASSERT_EQ(::send(socket.get(), &hello, sizeof(hello), 0), ssize_t{sizeof(hello)});
  Welcome welcome{};
  std::size_t size = 0;
  serve_until([&] {
    size += receive_some(socket.get(), writable_bytes_of(welcome).subspan(size)).size;
    return size == sizeof(welcome);
  });
  auto provider = find_provider("tcp", EndpointKind::kConnected, {}).value_or_throw();
  auto endpoint = Endpoint::open(provider, 16).value_or_throw();
  ASSERT_TRUE(endpoint->create(nullptr));
  welcome.nonce[3] ^= 1;
  ASSERT_TRUE(endpoint->connect_to({welcome.address.data(), welcome.address_size}, welcome.nonce));
  bool refused = false;
  serve_until([&] {
    const auto there = endpoint->connected(std::chrono::milliseconds(0));
    EXPECT_TRUE(!there || !*there) << "let in";
    refused = !there;
    return refused || (there && *there);
  });
  EXPECT_TRUE(refused);
  EXPECT_EQ(server_, nullptr);
}

TEST_F(FabricHostileClient, GetsNothingOutsideItsArena) {
  ASSERT_NO_FATAL_FAILURE(set_up());
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t end = arena_->size();
  expect_invalid(request(end - 8, 64, 0, 64), "an input that reaches over the end");
  expect_invalid(request(end + 1, 64, 0, 64), "an input behind the end");
  expect_invalid(request(64, kMax - 32, 0, 64), "an input that wraps");
  expect_invalid(request(kMax - 8, 64, 0, 64), "an input from before the start");
  expect_invalid(request(0, 64, end - 8, 64), "an output that reaches over the end");
  expect_invalid(request(0, 64, 64, kMax - 32), "an output that wraps");
  expect_invalid(request(0, end + 1, 0, 64), "an input longer than the arena");
  RequestSlot slot = request(0, 41, 0, 0);
  slot.line.flags = kInputInline | kOutputInline;
  expect_invalid(slot, "an inline input that does not fit");
  slot = request(0, 33, 0, 64);
  slot.line.flags = kInputInline;
  expect_invalid(slot, "an inline input over the output's offset");
  slot = request(0, 8, 0, 41);
  slot.line.flags = kInputInline | kOutputInline;
  expect_invalid(slot, "an inline output that does not fit");
  slot = request(end - 8, 64, 0, 0);
  slot.line.flags = kFetch | kOutputInline;
  expect_invalid(slot, "an input to be fetched from over the end");
  slot = request(0, kMax, 0, 0);
  slot.line.flags = kFetch | kOutputInline;
  expect_invalid(slot, "more to be fetched than there is");
}

TEST_F(FabricHostileClient, GetsNothingBeyondTheRegionItNamed) {
  const Region small{0, 4711, 4096};
  ASSERT_NO_FATAL_FAILURE(set_up(&small));
  expect_invalid(request(4095, 64, 0, 64), "an input behind the region");
  expect_invalid(request(0, 64, 4096, 64), "an output behind the region");
  // A region larger than the arena gives it no more than that.
  RequestSlot slot = request(arena_->size(), 64, 0, 64);
  slot.line.flags = kNewRegion;
  slot.arena = {0, 4711, std::numeric_limits<std::uint64_t>::max()};
  expect_invalid(slot, "an input behind the arena");
}

TEST_F(FabricHostileClient, GetsNoOutputWithAKeyThatIsNotItsOwn) {
  const Region wrong{0, 4711, arena_->size()};
  ASSERT_NO_FATAL_FAILURE(set_up(&wrong));
  RequestSlot slot = request(0, 8, 0, 4096);
  slot.line.flags = kInputInline;
  slot.line.sequence = 1;
  write(slot, 1);
  Invocation invocation;
  ASSERT_TRUE(next(invocation));
  ASSERT_EQ(invocation.verdict, Status::kOk);
  Completion completion;
  completion.size = 4096;
  server_->complete(invocation, completion);  // costs it its channel, and nobody else anything
  const auto end = steady_clock::now() + seconds(20);
  while (server_->is_open() && steady_clock::now() < end) {
    side_->endpoint->progress([](std::uint32_t) noexcept {});
    (void)server_->poll(invocation);
  }
  EXPECT_FALSE(server_->is_open());
  side_.reset();
  serve_until([&] { return ended_ == 1; });
  server_.reset();
  auto client = connect(options());
  EXPECT_TRUE(client) << client.error().what();
}

TEST_F(FabricHostileClient, GetsNothingDoneByNumbersOutOfTurn) {
  ASSERT_NO_FATAL_FAILURE(set_up());
  RequestSlot slot{};
  slot.line.flags = kInputInline | kOutputInline;
  Invocation invocation;
  for (const std::uint32_t number : {0u, 17u, 5u, 0xffff'ffffu}) {
    slot.line.sequence = number;
    write(slot, number);
  }
  for (int i = 0; i < 10'000; ++i) ASSERT_FALSE(server_->poll(invocation));
  slot.line.sequence = 99;  // another number inside than outside
  write(slot, 1);
  ASSERT_TRUE(next(invocation));
  EXPECT_EQ(invocation.verdict, Status::kInvalid);
}

TEST_F(FabricHostileClient, LosesItsChannelWhenItWritesOutsideTheRing) {
  ASSERT_NO_FATAL_FAILURE(set_up());
  side_->peer.ring.address += std::uint64_t{1} << 40;
  RequestSlot slot{};
  slot.line.sequence = 1;
  write(slot, 1);
  Invocation invocation;
  EXPECT_FALSE(next(invocation));
  EXPECT_FALSE(server_->is_open());
}

}  // namespace
}  // namespace sublet::transport::fabric
