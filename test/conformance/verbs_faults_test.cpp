// What the contract's suites cannot know of: keys and windows, hostile peers that speak bare verbs,
// many connections opened together.

#include "fixture.hpp"
#include "verbs_raw_client.hpp"
#include "verbs_transport.hpp"

#include <grp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace sublet::conformance {
namespace {

using transport::verbs::kOutputPlaced;
using transport::verbs::RequestWord;
using transport::verbs::ServerLayout;

class Verbs : public Fixture<VerbsTransport> {
 protected:
  void start_two() {
    ExecutorOptions options;
    options.host.workers = 2;
    start(options);
  }
  RawVerbsClient raw(std::uint32_t worker = 1) {
    return RawVerbsClient(executor_->address(), RawVerbsClient::hello(worker));
  }
  void expect_loses_its_worker() {
    EXPECT_TRUE(await([&] { return executor_->clients_ended() == 1; }));
    EXPECT_TRUE(executor_->await_free(1));
  }
};

/// An operation that the window does not allow, tried beside an honest client.
struct Trespass {
  const char* name;
  ibv_wr_opcode opcode;
  std::int64_t offset;  ///< From the ring's start.
  std::uint32_t size;
};

class Trespasses : public Verbs, public ::testing::WithParamInterface<Trespass> {};

TEST_P(Trespasses, CostOnlyTheirClientItsChannel) {
  start_two();
  auto honest = connect();
  expect_working(honest);
  {
    auto client = raw();
    ASSERT_TRUE(client.accepted()) << client.refusal();
    const auto welcome = client.welcome();
    const auto status = client.operate(
        GetParam().opcode, welcome.requests_address + static_cast<std::uint64_t>(GetParam().offset),
        welcome.requests_rkey, GetParam().size);
    EXPECT_EQ(status, IBV_WC_REM_ACCESS_ERR) << ibv_wc_status_str(status);
    for (int i = 0; i < 100; ++i) expect_working(honest);
    expect_loses_its_worker();
  }
  ClientOptions second;
  second.worker = 1;
  auto next = connect(second);
  expect_working(next);
  expect_working(honest);
}

constexpr std::size_t kSlotPayload = transport::verbs::slot_payload_for(RawVerbsClient::kSlots);
constexpr auto kRing =
    static_cast<std::int64_t>(ServerLayout{RawVerbsClient::kSlots, kSlotPayload}.requests_size());

INSTANTIATE_TEST_SUITE_P(Windows, Trespasses,
                         ::testing::Values(Trespass{"BehindTheRing", IBV_WR_RDMA_WRITE, kRing, 8},
                                           Trespass{"AcrossItsEnd", IBV_WR_RDMA_WRITE, kRing - 4,
                                                    8},
                                           Trespass{"BeforeTheRing", IBV_WR_RDMA_WRITE, -8, 8},
                                           Trespass{"ReadingTheRing", IBV_WR_RDMA_READ, 0, 8}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(Verbs, KeysOfAnEndedChannelOpenNothing) {
  start_two();
  transport::verbs::Welcome old{};
  {
    auto first = raw();
    ASSERT_TRUE(first.accepted());
    old = first.welcome();
    EXPECT_EQ(first.operate(IBV_WR_RDMA_WRITE, old.requests_address, old.requests_rkey, 8),
              IBV_WC_SUCCESS);
  }
  expect_loses_its_worker();
  auto second = raw();
  ASSERT_TRUE(second.accepted());
  EXPECT_EQ(second.operate(IBV_WR_RDMA_WRITE, old.requests_address, old.requests_rkey, 8),
            IBV_WC_REM_ACCESS_ERR);
}

TEST_F(Verbs, KeysOfAnotherChannelOpenNothing) {
  start_two();
  auto first = raw(0);
  auto second = raw(1);
  ASSERT_TRUE(first.accepted() && second.accepted());
  const auto other = first.welcome();
  EXPECT_EQ(second.operate(IBV_WR_RDMA_WRITE, other.requests_address, other.requests_rkey, 8),
            IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(first.operate(IBV_WR_RDMA_WRITE, other.requests_address, other.requests_rkey, 8),
            IBV_WC_SUCCESS);
}

TEST_F(Verbs, GreetingsThatAreMalformedAreRejectedWithAReason) {
  start();
  EXPECT_NE(RawVerbsClient(executor_->address(), std::nullopt).refusal().find("malformed"),
            std::string::npos);
  auto hello = RawVerbsClient::hello(0);
  hello.magic ^= 1;
  EXPECT_NE(RawVerbsClient(executor_->address(), hello).refusal().find("malformed"),
            std::string::npos);
  hello = RawVerbsClient::hello(0);
  hello.version += 1;
  EXPECT_NE(RawVerbsClient(executor_->address(), hello).refusal().find("version"),
            std::string::npos);
  hello = RawVerbsClient::hello(0);
  hello.slots = 3;
  EXPECT_NE(RawVerbsClient(executor_->address(), hello).refusal().find("3 slots"),
            std::string::npos);
  auto client = connect();
  expect_working(client);
}

/// A request's immediate word and length that no honest client sends.
struct Malformed {
  const char* name;
  RequestWord word;
  std::uint32_t size;
};

class MalformedRequests : public Verbs, public ::testing::WithParamInterface<Malformed> {};

TEST_P(MalformedRequests, CostOnlyTheirClientItsChannel) {
  start_two();
  auto honest = connect();
  auto client = raw();
  ASSERT_TRUE(client.accepted());
  const auto welcome = client.welcome();
  // Slot 1 is that of the first call.
  (void)client.operate(IBV_WR_RDMA_WRITE_WITH_IMM, client.slot(1), welcome.requests_rkey,
                       GetParam().size, GetParam().word.encode());
  expect_loses_its_worker();
  for (int i = 0; i < 20; ++i) expect_working(honest);
}

INSTANTIATE_TEST_SUITE_P(
    Requests, MalformedRequests,
    ::testing::Values(Malformed{"OutOfSequence", {0, 8, false, false, 2}, 8},
                      Malformed{"TooLong", {0, 8, false, false, 1}, kSlotPayload + 64},
                      Malformed{"TooShortForAPlace", {0, kOutputPlaced, false, false, 1}, 8},
                      Malformed{"NotTheSizeOfAPlace", {0, 8, false, true, 1}, 23},
                      Malformed{"OutputOfNoKind", {0, 50, false, false, 1}, 8}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(Verbs, RequestsThatClaimMoreThanTheirArenaAreRefused) {
  start_two();
  auto client = raw();
  ASSERT_TRUE(client.accepted());
  const auto welcome = client.welcome();
  const transport::verbs::InputPlace place{0, RawVerbsClient::kArena + 1, 0, 0};
  std::memcpy(client.memory() + (32 << 10), &place, sizeof(place));
  std::memcpy(client.memory(), &place, sizeof(place));
  ASSERT_EQ(client.operate(IBV_WR_RDMA_WRITE_WITH_IMM,
                           client.slot(1) + transport::verbs::kInputPlaceAt, welcome.requests_rkey,
                           sizeof(place), RequestWord{0, 8, false, true, 1}.encode()),
            IBV_WC_SUCCESS);
  const auto word = client.reply();
  ASSERT_TRUE(word);
  const auto reply = transport::verbs::ReplyWord::decode(*word);
  EXPECT_EQ(reply.slot, 1u);
  ASSERT_TRUE(reply.has_line);
  transport::verbs::ReplyLine line{};
  std::memcpy(&line,
              client.memory() + transport::verbs::kReplyStride + transport::verbs::kReplyLineAt,
              transport::verbs::kReplyLineHead);
  EXPECT_EQ(static_cast<Status>(line.status), Status::kInvalid);
}

TEST_F(Verbs, InputsThatAreNotTheClientsCostItsChannel) {
  start_two();
  auto honest = connect();
  auto client = raw();
  ASSERT_TRUE(client.accepted());
  const auto welcome = client.welcome();
  const transport::verbs::InputPlace place{0x1000, 64 << 10, 0x1234, 0};
  std::memcpy(client.memory(), &place, sizeof(place));
  (void)client.operate(IBV_WR_RDMA_WRITE_WITH_IMM, client.slot(1) + transport::verbs::kInputPlaceAt,
                       welcome.requests_rkey, sizeof(place),
                       RequestWord{0, 8, false, true, 1}.encode());
  expect_loses_its_worker();
  expect_working(honest);
}

TEST_F(Verbs, ManyChannelsOpenTogether) {
  ExecutorOptions options;
  options.host.workers = kMaxWorkers;
  options.hot_timeout = std::chrono::nanoseconds(0);
  start(options);
  std::vector<transport::ConnectOptions> wishes;
  for (std::uint32_t worker = 0; worker < kMaxWorkers; ++worker) {
    ClientOptions mine;
    mine.worker = worker;
    if (worker == 3) mine.token[0] ^= 1;
    wishes.push_back(connect_options(executor_->address(), mine));
  }
  auto channels = transport::verbs::Transport::connect_many(wishes, arena());
  ASSERT_EQ(channels.size(), kMaxWorkers);
  for (std::uint32_t worker = 0; worker < kMaxWorkers; ++worker) {
    if (worker == 3) {
      ASSERT_FALSE(channels[worker]);
      EXPECT_EQ(channels[worker].error().kind(), ErrorKind::kDenied);
      continue;
    }
    ASSERT_TRUE(channels[worker]) << channels[worker].error().what();
    for (int i = 0; i < 20; ++i) expect_working(*channels[worker]);
  }
}

/// What the kernel counts of each device: "... pd 1 cq 2 qp 3 cm_id 4 mr 5 ctx 1". Empty when the
/// tool is not there.
std::string device_resources() {
  std::string text;
  FILE* pipe = ::popen("PATH=$PATH:/sbin:/usr/sbin rdma resource show 2>/dev/null", "r");
  if (pipe == nullptr) return text;
  std::array<char, 256> line{};
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) text += line.data();
  ::pclose(pipe);
  return text;
}

TEST_F(Verbs, ChannelsLeaveNothingOnTheDevice) {
  start();
  const std::uint64_t cycles = long_run() ? 1'000 : 50;
  std::uint64_t opened = 0;
  const auto cycle = [&] {
    ASSERT_TRUE(executor_->await_free(0));
    // Every second one with an arena, and so a protection domain, of its own.
    const auto mine =
        opened % 2 == 0 ? arena() : transport::Arena::create(2u << 20).value_or_throw();
    auto client = VerbsTransport::connect(executor_->address(), {}, mine).value_or_throw();
    void* in = mine->allocate(100'000);
    void* out = mine->allocate(100'000);
    const auto reply = call(client, request(Function::kEcho, in, 100'000, out, 100'000));
    ASSERT_EQ(reply.status, Status::kOk);
    mine->deallocate(in, 100'000);
    mine->deallocate(out, 100'000);
    ++opened;
  };
  const auto settle = [&] {
    ASSERT_TRUE(await([&] { return executor_->clients_ended() == opened; }));
    ASSERT_TRUE(executor_->await_free(0));
  };
  for (int i = 0; i < 4; ++i) cycle();
  settle();
  const std::string before = device_resources();
  if (before.empty()) GTEST_SKIP() << "this needs the 'rdma' tool of iproute2";
  const std::size_t descriptors = open_descriptors();
  for (std::uint64_t i = 0; i < cycles && !HasFailure(); ++i) cycle();
  settle();
  // The kernel frees some of them a moment later.
  (void)await([&] { return device_resources() == before; }, std::chrono::seconds(5));
  EXPECT_EQ(device_resources(), before);
  EXPECT_EQ(open_descriptors(), descriptors);
}

TEST_F(Verbs, AddressesThatLeadNowhereAreTriedInTurn) {
  start();
  const auto addresses = base::split_list(executor_->address());
  const std::string dead = addresses[0].substr(0, addresses[0].rfind(':')) + ":1";
  for (const std::string& address : addresses) {
    ASSERT_TRUE(executor_->await_free(0));
    auto client = VerbsTransport::connect(dead + "," + address, {}, arena());
    ASSERT_TRUE(client) << client.error().what();
    expect_working(*client);
  }
}

TEST_F(Verbs, ExecutorsThatEndAChannelTellItsClient) {
  start();
  auto client = connect();
  expect_working(client);
  executor_->interrupt(0);
  EXPECT_TRUE(await([&] { return !client.check_peer(); }));
  EXPECT_TRUE(executor_->await_free(0));
  auto next = connect();
  expect_working(next);
}

TEST_F(Verbs, PayloadsBeyondWhatIsRegisteredAreRegisteredWhenTheyCome) {
  make_arena(std::size_t{64} << 20);
  start();
  auto client = connect();
  std::byte* base = arena()->data();
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{3} << 20, std::uint64_t{40} << 20, std::uint64_t{100}}) {
    constexpr std::uint64_t kSize = 100'000;
    std::byte* in = base + offset;
    std::byte* out = in + kSize;
    fill(in, kSize, offset);
    const auto reply = call(client, request(Function::kEcho, in, kSize, out, kSize));
    ASSERT_EQ(reply.status, Status::kOk) << reply.error;
    EXPECT_EQ(std::memcmp(in, out, kSize), 0) << offset;
  }
}

TEST_F(Verbs, LinksThatAreCutLoseTheCallsUnderWay) {
  const char* wanted = std::getenv("SUBLET_TEST_CUT_LINK");
  if (wanted == nullptr || std::string(wanted) != "1") {
    GTEST_SKIP()
        << "SUBLET_TEST_CUT_LINK=1 takes the RDMA device's network interface down for a while: "
           "only where nobody else uses it, as root";
  }
  const auto ports = transport::verbs::devices().value_or_throw();
  ASSERT_FALSE(ports.empty() || ports[0].interfaces.empty());
  const std::string link = "PATH=$PATH:/sbin:/usr/sbin ip link set " + ports[0].interfaces[0] + " ";
  ClientOptions options;
  // It sleeps, and looks around as often as clients do.
  options.wait.spin = std::chrono::nanoseconds(0);
  start();
  auto client = connect(options);
  const Ticket ticket = submit(client, request(Function::kWait, nullptr, 0));
  ASSERT_TRUE(await([&] { return worker().entered == 1; }));
  ASSERT_EQ(std::system((link + "down").c_str()), 0);
  const auto reply = collect(client, ticket);
  EXPECT_EQ(reply.status, Status::kLost) << to_string(reply.status);
  EXPECT_FALSE(client.is_open());
  EXPECT_EQ(std::system((link + "up").c_str()), 0);
  control_.open_gate();
}

/// Each of these forks before anything else: a device that is open must not be used by two
/// processes.
class VerbsDeaths : public Verbs {
 protected:
  static constexpr std::uint64_t kLarge = std::uint64_t{48} << 20;
};

TEST_F(VerbsDeaths, OfAnExecutorInTheMiddleOfALargeInputAreSeen) {
  ChildExecutor<VerbsTransport> executor({}, control_);
  make_arena(2 * kLarge);
  auto client = VerbsTransport::connect(executor.address(), {}, arena()).value_or_throw();
  fill(arena()->data(), kLarge, 1);
  std::uint64_t out = 0;
  const Ticket ticket =
      submit(client, request(Function::kDigest, arena()->data(), kLarge, &out, 8));
  executor.process().kill();
  EXPECT_EQ(collect(client, ticket).status, Status::kLost);
  EXPECT_FALSE(client.is_open());
}

/// `rdma link delete` on a thread of its own: it waits until nobody has the device open any more.
/// Puts the device back at the end.
class RemovedDevice {
 public:
  RemovedDevice(std::string name, std::string interface)
      : name_(std::move(name)),
        interface_(std::move(interface)),
        removed_(
            std::async(std::launch::async, [name = name_] { return link("delete " + name); })) {}
  RemovedDevice(const RemovedDevice&) = delete;
  RemovedDevice& operator=(const RemovedDevice&) = delete;
  ~RemovedDevice() {
    EXPECT_EQ(removed_.get(), 0);
    EXPECT_EQ(link("add " + name_ + " type rxe netdev " + interface_), 0);
  }

 private:
  static int link(const std::string& what) {
    return std::system(("PATH=$PATH:/sbin:/usr/sbin rdma link " + what).c_str());
  }
  std::string name_;
  std::string interface_;
  std::future<int> removed_;
};

TEST_F(VerbsDeaths, OfADeviceAreSeenByBothSides) {
  const char* wanted = std::getenv("SUBLET_TEST_CUT_LINK");
  if (wanted == nullptr || std::string(wanted) != "1") {
    GTEST_SKIP() << "SUBLET_TEST_CUT_LINK=1 removes the RDMA device for a while: only where it is "
                    "a software device that nobody else uses, as root";
  }
  // The connection manager's library never closes a device again, so its process has to end.
  Child child([this](Child& self) {
    const auto port = transport::verbs::devices().value_or_throw().at(0);
    start();
    auto client = connect();
    const Ticket ticket = submit(client, request(Function::kWait, nullptr, 0));
    (void)await([&] { return worker().entered == 1; });
    self.say(port.name);
    self.say(port.interfaces.at(0));
    self.say(to_string(collect(client, ticket).status));
    self.say(client.is_open() ? "open" : "ended");
    control_.open_gate();
    const bool seen = await([&] { return executor_->clients_ended() == 1; });
    self.say(seen && executor_->await_free(0) ? "free" : "taken");
    (void)await([] { return false; });
  });
  const std::string name = child.hear();
  const std::string interface = child.hear();
  ASSERT_NE(interface, "");
  const RemovedDevice removed(name, interface);
  EXPECT_EQ(child.hear(), to_string(Status::kLost));
  EXPECT_EQ(child.hear(), "ended");
  EXPECT_EQ(child.hear(), "free");
  child.kill();
}

TEST_F(VerbsDeaths, OfAClientInTheMiddleOfALargeInputAreSeen) {
  Child child([this](Child& self) {
    make_arena(2 * kLarge);
    auto client = VerbsTransport::connect(control_.await_address(), {}, arena()).value_or_throw();
    fill(arena()->data(), kLarge, 1);
    std::uint64_t out = 0;
    const Ticket ticket =
        submit(client, request(Function::kDigest, arena()->data(), kLarge, &out, 8));
    self.say("submitted");
    (void)collect(client, ticket);
  });
  start();
  ASSERT_EQ(child.hear(), "submitted");
  child.kill();
  EXPECT_TRUE(await([&] { return executor_->clients_ended() == 1; }));
  ASSERT_TRUE(executor_->await_free(0));
  auto next = connect();
  expect_working(next);
}

/// It forks first, too.
class VerbsLimits : public Verbs {};

/// The calling process may lock so much memory from now on, and no more.
void become_nobody(std::size_t locked_bytes) {
  constexpr uid_t kNobody = 65534;
  const rlimit low{locked_bytes, locked_bytes};
  if (::setrlimit(RLIMIT_MEMLOCK, &low) != 0 || ::setgroups(0, nullptr) != 0 ||
      ::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0) {
    throw std::system_error(errno, std::generic_category(), "becoming nobody");
  }
}

TEST_F(VerbsLimits, OfLockedMemoryThatAreTooLowAreNamedAndHowToRaiseThem) {
  if (::geteuid() != 0) GTEST_SKIP() << "this needs root, to become somebody who is not";
  Child child([this](Child& self) {
    const std::string address = control_.await_address();
    become_nobody(64u << 10);
    const auto client = VerbsTransport::connect(address, {}, arena());
    self.say(client ? "connected" : client.error().what());
  });
  start();
  const std::string said = child.hear();
  for (const char* part : {"this process may lock 64 KiB", "ulimit -l unlimited", "limits.conf"}) {
    EXPECT_NE(said.find(part), std::string::npos)
        << "'" << said << "' does not say '" << part << "'";
  }
  auto next = connect();
  expect_working(next);
}

TEST_F(VerbsLimits, OfLockedMemoryCostOnlyTheCallThatNeedsMore) {
  if (::geteuid() != 0) GTEST_SKIP() << "this needs root, to become somebody who is not";
  make_arena(std::size_t{64} << 20);
  Child child([this](Child& self) {
    const std::string address = control_.await_address();
    become_nobody(8u << 20);
    auto client = VerbsTransport::connect(address, {}, arena()).value_or_throw();
    expect_working(client);
    const std::uint64_t in = 5;
    std::uint64_t out = 0;
    const std::byte* far = arena()->data() + (std::size_t{32} << 20);
    const Ticket refused =
        submit(client, request(Function::kDigest, far, 64u << 10, &out, sizeof(out)));
    const Ticket behind = submit(client, request(Function::kEcho, &in, 8, &out, 8));
    const ReplyView good = collect(client, behind);
    const ReplyView bad = collect(client, refused);
    self.say(std::string(to_string(bad.status)) + ": " + std::string(bad.error));
    self.say(good.status == Status::kOk && out == in ? "went on" : to_string(good.status));
    expect_working(client);
    self.say(HasFailure() ? "failed" : "works");
  });
  start();
  const std::string said = child.hear();
  for (const char* part : {"invalid request: registering", "ulimit -l unlimited"}) {
    EXPECT_NE(said.find(part), std::string::npos) << "'" << said << "' lacks '" << part << "'";
  }
  EXPECT_EQ(child.hear(), "went on");
  EXPECT_EQ(child.hear(), "works");
}

}  // namespace
}  // namespace sublet::conformance
