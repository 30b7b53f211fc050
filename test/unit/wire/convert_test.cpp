#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <limits>

namespace sublet::wire {
namespace {

template <class T>
class Message {
 public:
  typename T::Builder builder() { return root_; }
  typename T::Reader reader() { return root_.asReader(); }

 private:
  capnp::MallocMessageBuilder message_;
  typename T::Builder root_ = message_.initRoot<T>();
};

sublet::Grant sample_grant() {
  sublet::Grant grant;
  grant.lease_id = 12345678901234;
  grant.part = 3;
  grant.cores = 2;
  grant.cores_per_worker = 8;
  grant.slots = 64;
  grant.arena_bytes = 1u << 30;
  grant.node_name = "c1";
  grant.node_id = "boot/c1";
  grant.addresses = {"unix:@x", "tcp:c1:7000"};
  grant.token.assign(kTokenBytes, std::byte{0xA5});
  grant.expires_unix_ms = 1'700'000'000'123;
  return grant;
}

TEST(Convert, GrantComesBackAsItWas) {
  Message<Grant> message;
  const sublet::Grant grant = sample_grant();
  write(message.builder(), grant);
  const auto back = read(message.reader());
  ASSERT_TRUE(back) << back.error().what();
  EXPECT_EQ(back->lease_id, grant.lease_id);
  EXPECT_EQ(back->part, grant.part);
  EXPECT_EQ(back->cores, grant.cores);
  EXPECT_EQ(back->cores_per_worker, grant.cores_per_worker);
  EXPECT_EQ(back->slots, grant.slots);
  EXPECT_EQ(back->arena_bytes, grant.arena_bytes);
  EXPECT_EQ(back->node_name, grant.node_name);
  EXPECT_EQ(back->node_id, grant.node_id);
  EXPECT_EQ(back->addresses, grant.addresses);
  EXPECT_EQ(back->token, grant.token);
  EXPECT_EQ(back->expires_unix_ms, grant.expires_unix_ms);
}

TEST(Convert, RefusesAGrantThatBreaksALimit) {
  const auto refused = [](auto&& change) {
    Message<Grant> message;
    write(message.builder(), sample_grant());
    change(message.builder());
    const auto grant = read(message.reader());
    return !grant && grant.error().kind() == ErrorKind::kInvalid;
  };
  EXPECT_FALSE(refused([](Grant::Builder) {}));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setCores(0); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setCores(kMaxWorkersPerExecutor + 1); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setCoresPerWorker(0); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setCoresPerWorker(kMaxCoresPerPart); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setGpusPerWorker(kMaxGpus + 1); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) {
    grant.setCores(2);
    grant.setGpusPerWorker(kMaxGpus / 2 + 1);
  }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setPart(kMaxParts); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setSlots(0); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setSlots(3); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setSlots(2 * kMaxSlots); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.initToken(15); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.initAddresses(17); }));
  EXPECT_TRUE(refused([](Grant::Builder grant) { grant.setNodeName(std::string(256, 'n')); }));
}

TEST(Convert, RefusesGpusThatHaveNoUuidOrAreTooMany) {
  Message<NodeDescription> message;
  const std::vector<GpuInfo> gpus = {
      {"GPU-11111111-aaaa-bbbb-cccc-000000000001", "NVIDIA A100", std::uint64_t{40} << 30},
      {"MIG-1/2/3", "", 0}};
  write(message.builder().initGpus(2), gpus);
  const auto back = read(message.reader().getGpus());
  ASSERT_TRUE(back) << back.error().what();
  EXPECT_EQ(*back, gpus);
  for (const std::string& uuid :
       {std::string(), std::string("0"), std::string("GPU-"), std::string("GPU-a,GPU-b"),
        std::string("GPU-\x1b[31m"), "GPU-" + std::string(kMaxGpuUuid, '0')}) {
    message.builder().getGpus()[0].setUuid(uuid);
    EXPECT_FALSE(read(message.reader().getGpus())) << uuid;
  }
  message.builder().initGpus(kMaxGpus + 1);
  EXPECT_FALSE(read(message.reader().getGpus()));
}

TEST(Convert, FailureKeepsKindAndText) {
  Message<Failure> message;
  write(message.builder(), Error(ErrorKind::kDenied, "no"));
  EXPECT_EQ(read(message.reader()).kind(), ErrorKind::kDenied);
  EXPECT_STREQ(read(message.reader()).what(), "no");
}

TEST(Convert, FailureOfAnUnknownKindIsInternal) {
  Message<Failure> message;
  message.builder().setKind(200);
  EXPECT_EQ(read(message.reader()).kind(), ErrorKind::kInternal);
}

TEST(Convert, LeaseRequestComesBackAsItWas) {
  Message<LeaseRequest> message;
  sublet::LeaseRequest request;
  request.cores = 4;
  request.cores_per_worker = 16;
  request.gpus_per_worker = 3;
  request.parts = 8;
  request.memory_bytes = 123456;
  request.duration = std::chrono::seconds(77);
  request.placement = sublet::Placement::kSpread;
  request.hot_timeout = std::chrono::milliseconds(0);
  request.slots = 128;
  request.wait = std::chrono::minutes(10);
  request.priority = -100;
  request.notice = std::chrono::hours(1);
  for (std::uint8_t part = 0; part < 8; ++part) request.holders.push_back({part, 1, 2});
  write(message.builder(), request, "boot/me", "someone@me");
  const auto back = read(message.reader());
  ASSERT_TRUE(back) << back.error().what();
  EXPECT_EQ(back->cores, 4u);
  EXPECT_EQ(back->cores_per_worker, 16u);
  EXPECT_EQ(back->gpus_per_worker, 3u);
  EXPECT_EQ(back->parts, 8u);
  EXPECT_EQ(back->memory_bytes, 123456u);
  EXPECT_EQ(back->duration, std::chrono::seconds(77));
  EXPECT_EQ(back->placement, sublet::Placement::kSpread);
  EXPECT_EQ(back->hot_timeout.count(), 0);
  EXPECT_EQ(back->slots, 128u);
  EXPECT_EQ(back->wait, std::chrono::minutes(10));
  EXPECT_EQ(back->priority, -100);
  EXPECT_EQ(back->notice, std::chrono::hours(1));
  EXPECT_EQ(back->holders, request.holders);
  EXPECT_EQ(to_string(message.reader().getClientNodeId()), "boot/me");
  EXPECT_EQ(to_string(message.reader().getOwner()), "someone@me");
}

sublet::LeaseRequest with_holder() {
  sublet::LeaseRequest request;
  request.holders.resize(1);
  return request;
}

TEST(Convert, RefusesALeaseRequestAndNamesTheField) {
  const auto refused = [](auto&& change, const std::string& field) {
    Message<LeaseRequest> message;
    write(message.builder(), with_holder(), "", "");
    change(message.builder());
    const auto request = read(message.reader());
    return !request && std::string(request.error().what()).find(field) != std::string::npos;
  };
  using Builder = LeaseRequest::Builder;
  EXPECT_TRUE(refused([](Builder request) { request.setCores(0); }, "cores"));
  EXPECT_TRUE(refused([](Builder request) { request.setCores(kMaxCoresPerPart + 1); }, "cores"));
  EXPECT_TRUE(refused([](Builder request) { request.setCoresPerWorker(0); }, "per worker is 0"));
  EXPECT_TRUE(refused([](Builder request) { request.setCoresPerWorker(~0u); }, "per worker"));
  EXPECT_TRUE(refused(
      [](Builder request) {
        request.setCores(kMaxCoresPerPart);
        request.setCoresPerWorker(2);
      },
      "8192 cores"));
  EXPECT_TRUE(refused([](Builder request) { request.setParts(0); }, "parts"));
  EXPECT_TRUE(refused([](Builder request) { request.setParts(kMaxParts + 1); }, "parts"));
  EXPECT_TRUE(refused([](Builder request) { request.setMemoryBytes(~0ull); }, "memory"));
  EXPECT_TRUE(refused([](Builder request) { request.setDurationMs(0); }, "duration"));
  EXPECT_TRUE(refused([](Builder request) { request.setDurationMs(~0ull); }, "duration"));
  EXPECT_TRUE(refused([](Builder request) { request.setHotTimeoutMs(-2); }, "hot_timeout"));
  EXPECT_TRUE(refused([](Builder request) { request.setSlots(24); }, "slots"));
  EXPECT_TRUE(refused([](Builder request) { request.setWaitMs(~0ull); }, "the wait"));
  EXPECT_TRUE(refused([](Builder request) { request.setNoticeMs(3'600'001); }, "notice"));
  EXPECT_TRUE(refused([](Builder request) { request.setPriority(101); }, "priority"));
  EXPECT_TRUE(refused(
      [](Builder request) { request.setPriority(std::numeric_limits<std::int32_t>::min()); },
      "priority"));
  EXPECT_TRUE(refused([](Builder request) { request.setParts(2); }, "for 2 parts they have 64"));
  EXPECT_TRUE(refused([](Builder request) { request.initHolders(31); }, "have 31 bytes"));
  EXPECT_TRUE(refused([](Builder request) { request.setPlacement(static_cast<Placement>(9)); },
                      "placement"));
}

TEST(Convert, ANegativeWaitOrNoticeIsRefusedAndNotWrapped) {
  for (const bool wait : {true, false}) {
    Message<LeaseRequest> message;
    sublet::LeaseRequest request;
    (wait ? request.wait : request.notice) = std::chrono::milliseconds(-1);
    write(message.builder(), request, "", "");
    EXPECT_FALSE(read(message.reader()));
  }
}

TEST(Convert, WhatKnowsNothingOfNoticesHasSomeSeconds) {
  EXPECT_EQ(Message<LeaseRequest>().reader().getNoticeMs(), 5000u);
  EXPECT_EQ(Message<Grant>().reader().getNoticeMs(), 5000u);
}

TEST(Convert, QuotasComeBackAsTheyWere) {
  Message<QuotaStatus> message;
  QuotaInfo info;
  info.uid = 1000;
  info.user = "alice";
  info.own = true;
  info.quota.cores = 0;
  info.held_cores = 3;
  info.used_core_seconds = 1.5;
  info.waiting = 2;
  write(message.builder(), info);
  const QuotaInfo back = read(message.reader());
  EXPECT_EQ(back.uid, 1000u);
  EXPECT_EQ(back.user, "alice");
  EXPECT_EQ(back.quota, info.quota);
  EXPECT_FALSE(back.quota.core_seconds);
  EXPECT_EQ(back.held_cores, 3u);
  EXPECT_EQ(back.used_core_seconds, 1.5);
  EXPECT_EQ(back.waiting, 2u);
}

TEST(Convert, WhatKnowsNothingOfWideWorkersAsksForCores) {
  Message<LeaseRequest> message;
  write(message.builder(), with_holder(), "", "");
  // A field at its default is no field on the wire.
  message.builder().setCoresPerWorker(1);
  EXPECT_EQ(read(message.reader()).value_or_throw().cores_per_worker, 1u);
  EXPECT_EQ(Message<LeaseRequest>().reader().getCoresPerWorker(), 1u);
  EXPECT_EQ(Message<Grant>().reader().getCoresPerWorker(), 1u);
}

TEST(Convert, ADurationThatOverflowsIsRefusedAndNotWrapped) {
  Message<LeaseRequest> message;
  sublet::LeaseRequest request;
  request.duration = std::chrono::seconds::max();
  write(message.builder(), request, "", "");
  EXPECT_FALSE(read(message.reader()));
  request.duration = std::chrono::seconds(-1);
  write(message.builder(), request, "", "");
  EXPECT_FALSE(read(message.reader()));
}

TEST(Convert, CutsTextsBetweenCharacters) {
  EXPECT_EQ(cut_text("abc", 3), "abc");
  EXPECT_EQ(cut_text("abcd", 3), "abc");
  EXPECT_EQ(cut_text("ab\xC3\xA9", 3), "ab");
  EXPECT_EQ(cut_text("a\x1B[2J\n", 9), "a?[2J ");
  EXPECT_EQ(cut_text("\xFF\xFF\xFF\xFF", 3), "???");
}

}  // namespace
}  // namespace sublet::wire
