#include "support/proved_greeting.hpp"
#include <base/unix_socket.hpp>
#include <transport/shm/shm_transport.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace sublet::transport::shm {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 20s;
constexpr std::size_t kMaxArena = 8u << 20;
constexpr Token kToken{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

std::string unique_name() {
  static std::atomic<int> counter{0};
  return "sublet-setup-" + std::to_string(::getpid()) + "-" + std::to_string(++counter);
}

template <class T>
std::span<const std::byte> bytes_of(const T& value, std::size_t size) {
  return transport::bytes_of(value).first(size);
}
using transport::bytes_of;

std::size_t mappings_of(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(name) != std::string::npos) ++count;
  }
  return count;
}

/// A listener that this thread serves whenever it waits for something.
class ShmSetup : public ::testing::Test {
 protected:
  ShmSetup() { listen(4); }

  void listen(std::uint32_t workers) {
    name_ = unique_name();
    ListenOptions options;
    options.token = kToken;
    options.workers = workers;
    options.max_slots = 64;
    options.max_arena_bytes = kMaxArena;
    listener_ = Listener::open(options, name_).value_or_throw();
    ASSERT_EQ(listener_->address(), name_);
  }

  void serve() {
    listener_->service([this](std::uint32_t worker) { return channels_.count(worker) == 0; },
                       [this](std::uint32_t worker, std::unique_ptr<ServerChannel> channel) {
                         channels_.emplace(worker, std::move(channel));
                       },
                       [this](std::uint32_t worker) { channels_.erase(worker); });
  }

  /// Serves, sleeping in poll(2) between, until `done`; false when patience ends first.
  bool serve_until(const std::function<bool()>& done) {
    const base::Deadline deadline = base::Deadline::after(kPatience);
    while (!done()) {
      if (deadline.passed()) return false;
      std::vector<pollfd> fds;
      listener_->append_poll_fds(fds);
      const int limit = listener_->poll_timeout_ms();
      ::poll(fds.data(), fds.size(), limit < 0 ? 1 : std::min(limit, 1));
      serve();
    }
    return true;
  }

  ConnectOptions options(std::uint32_t worker = 0) const {
    ConnectOptions options;
    options.address = name_;
    options.token = kToken;
    options.worker = worker;
    options.timeout = kPatience;
    return options;
  }

  Result<ClientChannel> connect(const ConnectOptions& options,
                                const std::shared_ptr<Arena>& arena) {
    auto channel =
        std::async(std::launch::async, [&] { return shm::Transport::connect(options, arena); });
    EXPECT_TRUE(serve_until([&] { return channel.wait_for(0s) == std::future_status::ready; }));
    return channel.get();
  }

  static std::shared_ptr<Arena> make_arena(std::size_t size = 2u << 20) {
    return Arena::create(size).value();
  }

  Hello hello() const {
    Hello hello{};
    hello.magic = kMagic;
    hello.version = kVersion;
    hello.slots = 16;
    hello.arena_size = arena_->size();
    return proved(hello, kToken);
  }

  /// What the listener answers to these bytes and descriptors.
  std::string answer(std::span<const std::byte> bytes, std::span<const int> fds) {
    const auto socket = base::connect_abstract(name_);
    EXPECT_TRUE(socket) << socket.error().what();
    EXPECT_TRUE(base::send_packet(socket->get(), bytes, fds));
    return read_answer(*socket);
  }

  std::string read_answer(const base::Fd& socket) {
    Welcome welcome{};
    Result<base::Packet> packet;
    const bool came = serve_until([&] {
      packet = base::receive_packet(
          socket.get(), std::as_writable_bytes(std::span<Welcome, 1>(&welcome, 1)), 0ms);
      return packet.has_value();
    });
    if (!came) return "(no answer)";
    if (packet->size == 0) return "(closed)";
    EXPECT_EQ(packet->size, welcome.status == 0 ? sizeof(Welcome) : sizeof(Answer));
    EXPECT_EQ(welcome.magic, kAnswerMagic);
    EXPECT_EQ(welcome.status == 0, packet->fds.size() == 1);
    return welcome.status == 0 ? "welcome" : welcome.text.data();
  }

  /// Another client is served as if nothing had happened.
  void expect_still_serving() {
    channels_.clear();
    auto channel = connect(options(), arena_);
    ASSERT_TRUE(channel) << channel.error().what();
    Ticket ticket;
    ASSERT_EQ(channel->submit({}, ticket), Status::kOk);
    Invocation invocation;
    ASSERT_TRUE(channels_.at(0)->poll(invocation));
    channels_.clear();
  }

  std::string name_;
  std::shared_ptr<Arena> arena_ = make_arena();
  std::unique_ptr<Listener> listener_;
  std::map<std::uint32_t, std::unique_ptr<ServerChannel>> channels_;
};

TEST_F(ShmSetup, RefusesWhatIsNoGreeting) {
  const int arena = arena_->memory().fd();
  const std::array<int, 2> two{arena, arena};
  const Hello good = hello();
  struct {
    Hello hello;
    char more[64];
  } longer{good, {}};
  Hello other_magic = good;
  other_magic.magic ^= 1;
  const char* malformed = "the greeting is malformed";
  EXPECT_EQ(answer(bytes_of(good, sizeof(Hello) - 1), {&arena, 1}), malformed);
  EXPECT_EQ(answer(bytes_of(good, 1), {&arena, 1}), malformed);
  EXPECT_EQ(answer(bytes_of(longer), {&arena, 1}), malformed);
  EXPECT_EQ(answer(bytes_of(other_magic), {&arena, 1}), malformed);
  EXPECT_EQ(answer(bytes_of(good), {}), malformed);
  EXPECT_EQ(answer(bytes_of(good), two), malformed);
  EXPECT_EQ(answer(bytes_of(good), {&arena, 1}), "welcome");
  expect_still_serving();
}

TEST_F(ShmSetup, SaysWhatIsWrongWithAGreeting) {
  struct Case {
    std::function<void(Hello&)> change;
    std::string text;
  };
  const std::vector<Case> cases{
      {[](Hello& h) { h.version = 7; }, "the client speaks version 7 of the protocol"},
      {[](Hello& h) { h.worker = 4; }, "there is no worker 4; the lease has 4"},
      {[](Hello& h) { h.worker = ~0u; }, "there is no worker 4294967295"},
      {[](Hello& h) { h.slots = 0; }, "0 slots were asked for; a power of two up to 64"},
      {[](Hello& h) { h.slots = 3; }, "3 slots were asked for"},
      {[](Hello& h) { h.slots = 128; }, "128 slots were asked for"},
      {[](Hello& h) { h.slots = 0x8000'0000; }, "2147483648 slots were asked for"},
      {[](Hello& h) { h.arena_size = kMaxArena + 1; }, "the lease allows 8388608"},
      {[](Hello& h) { h.arena_size = ~0ull; }, "the arena has 18446744073709551615 bytes"},
      {[](Hello& h) { h.arena_size += 4096; }, "where it announced"},
      {[](Hello& h) { h.arena_size -= 1; }, "where it announced"},
      {[](Hello& h) { h.arena_size = 0; }, "where it announced"},
  };
  const int arena = arena_->memory().fd();
  for (const Case& c : cases) {
    Hello changed = hello();
    c.change(changed);
    const std::string text = answer(bytes_of(proved(changed, kToken)), {&arena, 1});
    EXPECT_NE(text.find(c.text), std::string::npos) << "'" << text << "' for '" << c.text << "'";
    EXPECT_TRUE(channels_.empty());
  }
  expect_still_serving();
}

TEST_F(ShmSetup, TakesNoGreetingWithoutAGoodProofAndNoneTwice) {
  const int arena = arena_->memory().fd();
  const std::string denied = "the token is not the one of this lease";
  const auto refused = [&](const std::function<void(Hello&)>& change) {
    Hello changed = hello();
    change(changed);
    EXPECT_EQ(answer(bytes_of(changed), {&arena, 1}), denied);
  };
  for (std::size_t byte = 0; byte < sizeof(Proof); ++byte) {
    refused([byte](Hello& h) { h.proof[byte] ^= 1; });
  }
  refused([](Hello& h) { h.proof = {}; });
  refused([](Hello& h) { h.nonce ^= 1; });
  refused([](Hello& h) { h.worker ^= 1; });
  refused([](Hello& h) { h.slots *= 2; });
  refused([](Hello& h) { h.arena_size /= 2; });
  refused([](Hello& h) { h = proved(h, kToken, 1); });  // of another executor of the lease
  Token other = kToken;
  other[15] ^= 1;
  refused([&](Hello& h) { h = proved(h, other); });
  refused([](Hello& h) { h.proof = executor_proof(kToken, 0, h); });  // what it hears itself

  const Hello good = hello();
  EXPECT_EQ(answer(bytes_of(good), {&arena, 1}), "welcome");
  channels_.clear();
  EXPECT_EQ(answer(bytes_of(good), {&arena, 1}), "this greeting has come before");
  expect_still_serving();
}

TEST_F(ShmSetup, RefusesAnArenaThatCouldShrinkOrIsNoMemory) {
  const base::Fd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), static_cast<off_t>(arena_->size())), 0);
  const base::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const base::Fd directory(::open("/", O_RDONLY | O_CLOEXEC));
  const Hello good = hello();
  int fd = unsealed.get();
  EXPECT_EQ(answer(bytes_of(good), {&fd, 1}),
            "the peer's shared memory is not sealed against shrinking");
  for (const int other : {null.get(), directory.get()}) {
    const std::string text = answer(bytes_of(hello()), {&other, 1});
    EXPECT_NE(text, "welcome");
    EXPECT_NE(text, "(no answer)");
  }
  expect_still_serving();
}

TEST_F(ShmSetup, RefusesASecondChannelToAWorker) {
  auto first = connect(options(), arena_);
  ASSERT_TRUE(first) << first.error().what();
  auto second = connect(options(), arena_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kDenied);
  EXPECT_NE(std::string(second.error().what()).find("worker 0 has a channel already"),
            std::string::npos);
  EXPECT_TRUE(connect(options(1), arena_));
}

TEST_F(ShmSetup, EndsAConnectionThatSaysNothing) {
  const auto silent = base::connect_abstract(name_);
  ASSERT_TRUE(silent);
  expect_still_serving();  // meanwhile
  EXPECT_EQ(read_answer(*silent), "no greeting came in time");
  Welcome nothing{};
  const auto end = base::receive_packet(
      silent->get(), std::as_writable_bytes(std::span<Welcome, 1>(&nothing, 1)), kPatience);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->size, 0u);
}

TEST_F(ShmSetup, ServesBehindMoreSilentConnectionsThanItKeeps) {
  std::vector<base::Fd> silent;
  while (silent.size() < kMaxPending + 8) {
    serve();
    auto socket = base::connect_abstract(name_);
    ASSERT_TRUE(socket) << socket.error().what();
    silent.push_back(std::move(*socket));
  }
  std::vector<pollfd> fds;
  serve();
  listener_->append_poll_fds(fds);
  EXPECT_LE(fds.size(), kMaxPending + 1);
  expect_still_serving();
}

TEST_F(ShmSetup, ForgetsAConnectionThatCloses) {
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(base::connect_abstract(name_));
  ASSERT_TRUE(serve_until([&] {
    std::vector<pollfd> fds;
    listener_->append_poll_fds(fds);
    return fds.size() == 1;
  }));
  EXPECT_EQ(listener_->poll_timeout_ms(), -1);
}

TEST_F(ShmSetup, MapsTheArenaOfSeveralChannelsOnce) {
  const std::size_t before = mappings_of("sublet-arena");
  std::vector<ClientChannel> clients;
  for (std::uint32_t worker = 0; worker < 4; ++worker) {
    auto channel = connect(options(worker), arena_);
    ASSERT_TRUE(channel) << channel.error().what();
    clients.push_back(std::move(*channel));
  }
  EXPECT_EQ(mappings_of("sublet-arena"), before + 1);
  const auto other = make_arena();  // of the same size
  channels_.erase(3);
  ASSERT_TRUE(connect(options(3), other));
  EXPECT_EQ(mappings_of("sublet-arena"), before + 3) << "the client's and the executor's";
  channels_.clear();
  clients.clear();
  EXPECT_EQ(mappings_of("sublet-arena"), before + 1) << "the client's";
}

TEST_F(ShmSetup, WaitsForDescriptorsInsteadOfSpinning) {
  // Both ends' descriptors are made before the limit falls.
  const auto client = base::connect_abstract(name_);
  ASSERT_TRUE(client);
  const Hello good = hello();
  const int arena = arena_->memory().fd();
  ASSERT_TRUE(base::send_packet(client->get(), bytes_of(good), {&arena, 1}));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const base::Fd probe(::dup(arena));
  const rlimit none_left{static_cast<rlim_t>(probe.get()) + 1, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none_left), 0);
  serve();
  std::vector<pollfd> fds;
  listener_->append_poll_fds(fds);
  const int timeout = listener_->poll_timeout_ms();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(fds.empty()) << "poll would return at once, again and again";
  EXPECT_GE(timeout, 0);
  EXPECT_EQ(read_answer(*client), "welcome");
  EXPECT_EQ(listener_->poll_timeout_ms(), -1);
}

TEST_F(ShmSetup, SaysWhichWorkerDidNotAnswer) {
  auto options = this->options(3);
  options.timeout = 20ms;
  const auto channel = shm::Transport::connect(options, arena_);  // nobody serves
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().kind(), ErrorKind::kDisconnected);
  EXPECT_NE(std::string(channel.error().what()).find("worker 3 did not answer"), std::string::npos);
}

TEST_F(ShmSetup, RefusesUnusableSlotsBeforeItAsks) {
  for (const std::uint32_t slots : {0u, 3u, 2048u}) {
    auto options = this->options();
    options.slots = slots;
    const auto channel = shm::Transport::connect(options, arena_);
    ASSERT_FALSE(channel);
    EXPECT_EQ(channel.error().kind(), ErrorKind::kInvalid);
  }
}

TEST_F(ShmSetup, UsesRealFencesWhenEitherSideWantsThem) {
  const int arena = arena_->memory().fd();
  for (const std::uint32_t asymmetric : {0u, 1u, 2u}) {
    const auto socket = base::connect_abstract(name_);
    Hello changed = hello();
    changed.worker = asymmetric;
    changed.asymmetric = asymmetric;
    changed = proved(changed, kToken);
    ASSERT_TRUE(base::send_packet(socket->get(), bytes_of(changed), {&arena, 1}));
    ASSERT_TRUE(serve_until([&] { return channels_.count(asymmetric) == 1; }));
    Welcome welcome{};
    ASSERT_TRUE(base::receive_packet(
        socket->get(), std::as_writable_bytes(std::span<Welcome, 1>(&welcome, 1)), kPatience));
    EXPECT_EQ(welcome.asymmetric, asymmetric == 1 && base::register_asymmetric_fence() ? 1 : 0);
  }
}

/// What a false executor has heard; on its thread.
thread_local Greeting g_greeting;

/// An executor that answers one greeting as it likes.
class FalseExecutor {
 public:
  using Answer = std::function<void(const base::Fd&)>;
  explicit FalseExecutor(Answer answer)
      : name_(unique_name()),
        socket_(base::listen_abstract(name_, 1).value()),
        thread_([this, answer = std::move(answer)] {
          const base::Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
          std::array<std::byte, 256> hello{};
          (void)base::receive_packet(client.get(), hello, kPatience);
          std::memcpy(&g_greeting, hello.data(), sizeof(g_greeting));
          answer(client);
        }) {}
  FalseExecutor(const FalseExecutor&) = delete;
  FalseExecutor& operator=(const FalseExecutor&) = delete;
  ~FalseExecutor() { thread_.join(); }

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::string name_;
  base::Fd socket_;
  std::thread thread_;
};

Welcome welcome_with(Status status) {
  Welcome welcome{};
  static_cast<Answer&>(welcome) = Answer::of(status);
  welcome.proof = executor_proof({}, 0, g_greeting);
  return welcome;
}

base::Fd memory_of(std::size_t size, int seals) {
  base::Fd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

TEST(ShmConnect, BelievesNoFalseExecutor) {
  const auto arena = Arena::create(1).value();
  constexpr std::uint32_t kSlots = 4;
  const std::size_t size = Layout{kSlots}.size();
  const auto send = [](const base::Fd& to, const Welcome& welcome, std::size_t bytes,
                       const base::Fd& fd = base::Fd()) {
    const int number = fd.get();
    (void)base::send_packet(to.get(), bytes_of(welcome, bytes),
                            {&number, fd.valid() ? std::size_t{1} : std::size_t{0}});
  };
  constexpr std::size_t kWhole = sizeof(Welcome);
  struct Case {
    FalseExecutor::Answer answer;
    ErrorKind kind;
    std::string text;
  };
  Welcome unterminated = welcome_with(Status::kDenied);
  unterminated.text.fill('x');
  Welcome other_magic = welcome_with(Status::kOk);
  other_magic.magic = 0;
  const auto with_proof = [](const Proof& proof) {
    Welcome welcome = welcome_with(Status::kOk);
    welcome.proof = proof;
    return welcome;
  };
  const std::string another = "is not the executor of this lease";
  const std::vector<Case> cases{
      {[&](const base::Fd& to) {
         send(to, with_proof({}), kWhole, memory_of(size, F_SEAL_SHRINK));
       },
       ErrorKind::kInvalid, another},
      {[&](const base::Fd& to) {
         send(to, with_proof(g_greeting.proof), kWhole, memory_of(size, F_SEAL_SHRINK));
       },
       ErrorKind::kInvalid, another},
      {[&](const base::Fd& to) {
         send(to, with_proof(executor_proof(Token{1}, 0, g_greeting)), kWhole,
              memory_of(size, F_SEAL_SHRINK));
       },
       ErrorKind::kInvalid, another},
      {[&](const base::Fd& to) {
         send(to, with_proof(executor_proof({}, 1, g_greeting)), kWhole,
              memory_of(size, F_SEAL_SHRINK));
       },
       ErrorKind::kInvalid, another},
      {[](const base::Fd&) {}, ErrorKind::kDisconnected, "ended while worker 0"},
      {[&](const base::Fd& to) { send(to, other_magic, kWhole); }, ErrorKind::kInvalid,
       "is no executor"},
      {[&](const base::Fd& to) { send(to, welcome_with(Status::kOk), 8); }, ErrorKind::kInvalid,
       "is no executor"},
      {[&](const base::Fd& to) { send(to, welcome_with(Status::kOk), kWhole); },
       ErrorKind::kInvalid, "sent no memory"},
      {[&](const base::Fd& to) { send(to, unterminated, kWhole); }, ErrorKind::kDenied,
       std::string(unterminated.text.size() - 1, 'x')},
      {[&](const base::Fd& to) {
         send(to, welcome_with(static_cast<Status>(200)), kWhole, memory_of(size, F_SEAL_SHRINK));
       },
       ErrorKind::kDenied, "refused the connection"},
      {[&](const base::Fd& to) {
         send(to, welcome_with(Status::kOk), kWhole, memory_of(size - 1, F_SEAL_SHRINK));
       },
       ErrorKind::kInvalid, "where it announced"},
      {[&](const base::Fd& to) {
         send(to, welcome_with(Status::kOk), kWhole, memory_of(size, F_SEAL_GROW));
       },
       ErrorKind::kInvalid, "not sealed"},
  };
  for (const Case& c : cases) {
    const FalseExecutor executor(c.answer);
    ConnectOptions options;
    options.address = executor.name();
    options.slots = kSlots;
    options.timeout = kPatience;
    const auto channel = shm::Transport::connect(options, arena);
    ASSERT_FALSE(channel) << c.text;
    EXPECT_EQ(channel.error().kind(), c.kind) << channel.error().what();
    EXPECT_NE(std::string(channel.error().what()).find(c.text), std::string::npos)
        << channel.error().what();
  }
}

TEST_F(ShmSetup, GivesItsMemoryOnlyToWhomItBelieves) {
  ConnectOptions wary = options();
  std::uint32_t listener = ~0u;
  wary.believes = [&](std::uint32_t uid) {
    listener = uid;
    return false;
  };
  const auto channel = connect(wary, arena_);
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().kind(), ErrorKind::kDenied);
  EXPECT_EQ(listener, ::getuid());
  wary.believes = [](std::uint32_t uid) { return uid == ::getuid(); };
  EXPECT_TRUE(connect(wary, arena_));
}

}  // namespace
}  // namespace sublet::transport::shm
