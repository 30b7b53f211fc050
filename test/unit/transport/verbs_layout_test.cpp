// What of the verbs transport needs no device: its words, its layouts, its errors.

#include <transport/verbs/verbs_devices.hpp>
#include <transport/verbs/verbs_transport.hpp>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <random>
#include <string>

namespace sublet::transport::verbs {
namespace {

TEST(PackedTime, IsExactWhenShortAndNearlyElse) {
  for (std::uint64_t ns : {0ull, 1ull, 9ull, 65'535ull}) {
    EXPECT_EQ(unpack_time(pack_time(ns)), ns);
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t ns = random() >> (17 + random() % 47);
    const std::uint64_t back = unpack_time(pack_time(ns));
    ASSERT_LE(back, ns);
    ASSERT_LE(ns - back, ns / 32'768) << ns;
    ASSERT_LE(pack_time(ns), 0x1f'ffffu);
  }
}

TEST(PackedTime, Saturates) {
  EXPECT_EQ(unpack_time(pack_time(~std::uint64_t{0})), std::uint64_t{0xffff} << 31);
}

TEST(RequestWord, SurvivesTheWire) {
  for (const std::uint32_t function : {0u, 1u, 0x7fffu, 0xffffu}) {
    for (const std::uint32_t output : {0u, 40u, kOutputAsBefore, kOutputPlaced}) {
      for (const std::uint32_t sequence : {0u, 1u, kSequenceBits}) {
        for (const bool flag : {false, true}) {
          const auto word = RequestWord::decode(
              RequestWord{function, output, flag, !flag, sequence, flag}.encode());
          EXPECT_EQ(word.function, function);
          EXPECT_EQ(word.output, output);
          EXPECT_EQ(word.traced, flag);
          EXPECT_EQ(word.has_input_place, !flag);
          EXPECT_EQ(word.sequence, sequence);
          EXPECT_EQ(word.same_slot, flag);
        }
      }
    }
  }
}

TEST(ReplyWord, SurvivesTheWire) {
  for (const std::uint32_t slot : {0u, 1u, 1023u}) {
    for (const bool has_line : {false, true}) {
      for (const std::uint32_t time : {0u, 1u, 0x1f'ffffu}) {
        const auto word = ReplyWord::decode(ReplyWord::encode(slot, has_line, time));
        EXPECT_EQ(word.slot, slot);
        EXPECT_EQ(word.has_line, has_line);
        EXPECT_EQ(word.packed_time, time);
      }
    }
  }
}

TEST(QueueDepths, NeverRunOutOfReceives) {
  for (std::uint32_t slots = 1; slots <= 1024; slots *= 2) {
    const auto depths = QueueDepths::of(slots);
    // One for each call in flight, also just before a batch is posted again.
    EXPECT_GE(depths.receives - (depths.receives_batch - 1), slots);
    EXPECT_EQ(depths.receives % depths.receives_batch, 0u);
    EXPECT_GE(depths.sends, slots + depths.signal_every);
  }
}

TEST(Layouts, KeepWhatTheClientMayWriteToItself) {
  for (std::uint32_t slots = 1; slots <= 1024; slots *= 2) {
    const ServerLayout server{slots, slot_payload_for(slots)};
    EXPECT_EQ(server.requests(), 0u);
    EXPECT_GE(server.outputs(), server.requests_size());
    EXPECT_GE(server.staging(), server.outputs() + slots * kSlotOutput);
    EXPECT_GE(server.size(), server.staging() + slots * kReplyStride);
    const ClientLayout client{slots};
    EXPECT_GE(client.size(), client.staging() + slots * kStagingStride);
  }
}

TEST(Slots, TakeLargeInputsUnlessThereAreMany) {
  EXPECT_EQ(slot_payload_for(1), kMostSlotPayload);
  EXPECT_EQ(slot_payload_for(16), kMostSlotPayload);
  EXPECT_EQ(slot_payload_for(64), kSlotPayloads / 64);
  EXPECT_EQ(slot_payload_for(1024), kLeastSlotPayload);
  EXPECT_FALSE((Welcome{0, 0, 0, kLeastSlotPayload - 1, 0, {}}.is_sane()));
  EXPECT_FALSE((Welcome{0, 0, 0, kMostSlotPayload + 1, 0, {}}.is_sane()));
  EXPECT_TRUE((Welcome{0, 0, 0, kMostSlotPayload, 0, {}}.is_sane()));
}

TEST(AckTimeouts, GrowWithTheTimeThatAPeerHas) {
  std::uint8_t before = 0;
  for (const auto peer_timeout : {0ms, 10ms, 1000ms, 5000ms, 60'000ms, 600'000ms}) {
    const std::uint8_t exponent = ack_timeout_for(peer_timeout);
    EXPECT_GE(exponent, before);
    EXPECT_LE(exponent, 31);
    before = exponent;
  }
  // With all tries, of which devices may make each four times as long.
  const double shortest_s = 4.096e-6 * (1u << ack_timeout_for(2000ms)) * (kRetries + 1);
  EXPECT_GE(shortest_s, 0.4);
  EXPECT_LE(4 * shortest_s, 4.0);
}

TEST(LockedMemory, ThatRunsOutIsNamedWithItsLimitAndTheRemedy) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before), 0);
  rlimit low = before;
  low.rlim_cur = 64u << 10;
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &low), 0);
  const auto error = verbs_error(ErrorKind::kInternal, "registering 1 byte", ENOMEM).value();
  ::setrlimit(RLIMIT_MEMLOCK, &before);
  const std::string text = error.what();
  EXPECT_NE(text.find("64 KiB"), std::string::npos) << text;
  EXPECT_NE(text.find("ulimit -l"), std::string::npos) << text;
  EXPECT_EQ(error.kind(), ErrorKind::kOverloaded);
}

TEST(Devices, ThatAreNotThereAreNamed) {
  const auto device = device_named("no_such_device");
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().kind(), ErrorKind::kInvalid);
  const std::string text = device.error().what();
  EXPECT_NE(text.find("no_such_device"), std::string::npos) << text;
  for (const Device& there : devices().value_or_throw()) {
    EXPECT_NE(text.find(there.name), std::string::npos) << text;
  }
}

TEST(Devices, MissingAltogetherMakeAnErrorThatSaysSo) {
  if (why_unavailable().empty()) GTEST_SKIP() << "this machine has an RDMA device";
  ListenOptions listening;
  const auto listener = Listener::open(listening, "");
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(std::string(listener.error().what()).find("no RDMA device"), std::string::npos)
      << listener.error().what();
  ConnectOptions options;
  options.address = "10.0.2.15:4711";
  const auto client = Transport::connect(options, Arena::create(1 << 20).value_or_throw());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::kUnsupported);
  EXPECT_TRUE(devices().value_or_throw().empty());
}

}  // namespace
}  // namespace sublet::transport::verbs
