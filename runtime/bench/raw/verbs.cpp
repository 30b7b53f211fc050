// The bare RDMA exchange: one write with immediate data each way, between one registered buffer of
// each process; inline when the device takes it; one send in kSignalEvery is signalled; receives
// are posted again in batches. Hot, both sides poll their completion queues; warm, the server
// sleeps in its completion channel between calls.

#include <arpa/inet.h>
#include <bench/raw_completions.hpp>
#include <bench/raw_transport.hpp>
#include <infiniband/verbs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace sublet::bench {
namespace {

constexpr std::uint32_t kDepth = 64;
constexpr std::uint32_t kRefill = 32;
constexpr std::uint32_t kInlineWanted = 256;
constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kStreamWrite = 1;  ///< The others have 0.

/// As perftest does, in effect: a completion for each send would be a second poll in each exchange.
constexpr std::uint32_t kSignalEvery = 32;

template <auto Destroy>
struct Destroyer {
  template <class T>
  void operator()(T* object) const noexcept {
    Destroy(object);
  }
};
template <class T, auto Destroy>
using Owner = std::unique_ptr<T, Destroyer<Destroy>>;

tl::unexpected<Error> verbs_failed(const std::string& attempted, int number) {
  return fail(ErrorKind::kUnsupported,
              "the bare RDMA exchange: " + attempted + ": " + std::strerror(number), number);
}

/// What one end must know of the other.
struct Card {
  std::uint32_t pair;
  std::uint32_t first_packet;
  std::uint32_t rkey;
  std::uint16_t lid;
  std::uint16_t unused;
  std::uint64_t address;
  ibv_gid gid;
};

/// One end: a queue pair and a buffer, which is sent from and written to.
struct VerbsEnd {
  static constexpr std::uint32_t kLooksPerCheck = 1u << 20;

  Owner<ibv_context, &ibv_close_device> device;
  Owner<ibv_pd, &ibv_dealloc_pd> domain;
  base::SharedMemory buffer;
  Owner<ibv_mr, &ibv_dereg_mr> region;
  Owner<ibv_comp_channel, &ibv_destroy_comp_channel> channel;
  Owner<ibv_cq, &ibv_destroy_cq> queue;
  Owner<ibv_qp, &ibv_destroy_qp> pair;
  std::uint8_t port = 1;
  std::uint8_t gid_index = 0;
  ibv_mtu mtu = IBV_MTU_1024;
  std::uint32_t inline_bytes = 0;
  Card peer{};
  std::uint32_t unsignalled = 0;
  std::uint32_t used = 0;
  std::uint64_t done = 0;  ///< Writes by start_write.
  std::array<ibv_recv_wr, kRefill> receives{};

  /// Over the first active port.
  Result<void> open(std::size_t size);
  Result<void> connect(const Card& other);
  [[nodiscard]] Card card() const;

  [[nodiscard]] std::byte* out() noexcept { return buffer.data(); }
  [[nodiscard]] const std::byte* in() const noexcept { return buffer.data(); }
  [[nodiscard]] std::uint64_t writes_done() const noexcept { return done; }

  [[nodiscard]] bool refill() noexcept {
    ibv_recv_wr* bad = nullptr;
    used = 0;
    return ibv_post_recv(pair.get(), receives.data(), &bad) == 0;
  }
  [[nodiscard]] bool send(std::size_t size, std::uint32_t word) noexcept {
    ibv_sge piece{reinterpret_cast<std::uintptr_t>(buffer.data()), static_cast<std::uint32_t>(size),
                  region->lkey};
    ibv_send_wr work;
    work.wr_id = 0;
    work.next = nullptr;
    work.sg_list = &piece;
    work.num_sge = size == 0 ? 0 : 1;
    work.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    work.send_flags = size <= inline_bytes ? IBV_SEND_INLINE : 0;
    if (++unsignalled == kSignalEvery) {
      unsignalled = 0;
      work.send_flags |= IBV_SEND_SIGNALED;
    }
    work.imm_data = htonl(word);
    work.wr.rdma.remote_addr = peer.address;
    work.wr.rdma.rkey = peer.rkey;
    ibv_send_wr* bad = nullptr;
    return ibv_post_send(pair.get(), &work, &bad) == 0;
  }
  /// A plain write, which takes no receive and completes here.
  [[nodiscard]] int start_write(std::size_t size, std::size_t offset) noexcept {
    ibv_sge piece{reinterpret_cast<std::uintptr_t>(buffer.data() + offset),
                  static_cast<std::uint32_t>(size), region->lkey};
    ibv_send_wr work{};
    work.wr_id = kStreamWrite;
    work.sg_list = &piece;
    work.num_sge = 1;
    work.opcode = IBV_WR_RDMA_WRITE;
    work.send_flags = IBV_SEND_SIGNALED;
    work.wr.rdma.remote_addr = peer.address + offset;
    work.wr.rdma.rkey = peer.rkey;
    ibv_send_wr* bad = nullptr;
    return ibv_post_send(pair.get(), &work, &bad) == 0 ? 1 : -1;
  }
  [[nodiscard]] int receive(std::uint32_t& word) noexcept {
    ibv_wc completion;
    // 0 means that the queue is empty: who sleeps then would not be woken for what is left in it.
    for (;;) {
      const int count = ibv_poll_cq(queue.get(), 1, &completion);
      if (count == 0) return 0;
      if (count < 0 || completion.status != IBV_WC_SUCCESS) return -1;
      if (completion.wr_id == kStreamWrite) ++done;
      if (completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM) break;
    }
    word = ntohl(completion.imm_data);
    if (++used == kRefill && !refill()) return -1;
    return 1;
  }
  [[nodiscard]] int receive_asleep(std::uint32_t& word) noexcept {
    if (ibv_req_notify_cq(queue.get(), 0) != 0) return -1;
    const int got = receive(word);  // what came before the queue was armed raises no event
    if (got != 0) return got;
    ibv_cq* ready = nullptr;
    void* context = nullptr;
    if (ibv_get_cq_event(channel.get(), &ready, &context) != 0) return -1;
    ibv_ack_cq_events(ready, 1);
    return receive(word);
  }
};

Result<void> VerbsEnd::open(std::size_t size) {
  int count = 0;
  const Owner<ibv_device*, &ibv_free_device_list> list(ibv_get_device_list(&count));
  for (int i = 0; i < count && !device; ++i) {
    ibv_device* candidate = list.get()[i];
    device.reset(ibv_open_device(candidate));
    ibv_port_attr state{};
    port = 1;
    if (!device || ibv_query_port(device.get(), port, &state) != 0 ||
        state.state != IBV_PORT_ACTIVE) {
      device.reset();
      continue;
    }
    mtu = state.active_mtu;
    // An address of the routable kind where there is one.
    for (int index = 0; index < state.gid_tbl_len; ++index) {
      ibv_gid_entry entry{};
      if (ibv_query_gid_ex(device.get(), port, static_cast<std::uint32_t>(index), &entry, 0) != 0) {
        continue;
      }
      if (entry.gid_type == IBV_GID_TYPE_ROCE_V2) gid_index = static_cast<std::uint8_t>(index);
      if (entry.gid_type == IBV_GID_TYPE_ROCE_V2 && entry.gid.raw[10] == 0xff) break;  // IPv4
    }
  }
  if (!device) return verbs_failed("finding an active port", ENODEV);
  domain.reset(ibv_alloc_pd(device.get()));
  auto memory = base::SharedMemory::create("sublet-bench-verbs",
                                           std::max((size + kPage - 1) / kPage * kPage, kPage),
                                           base::SharedMemory::Pages::kHuge);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
  buffer = std::move(*memory);
  region.reset(domain ? ibv_reg_mr(domain.get(), buffer.data(), buffer.size(),
                                   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)
                      : nullptr);
  if (!region) return verbs_failed("registering the buffer", errno);
  channel.reset(ibv_create_comp_channel(device.get()));
  queue.reset(channel ? ibv_create_cq(device.get(), 2 * kDepth, nullptr, channel.get(), 0)
                      : nullptr);
  if (!queue) return verbs_failed("making a completion queue", errno);
  for (inline_bytes = kInlineWanted; !pair; inline_bytes /= 2) {
    ibv_qp_init_attr init{};
    init.send_cq = queue.get();
    init.recv_cq = queue.get();
    init.qp_type = IBV_QPT_RC;
    init.cap = {kDepth, kDepth, 1, 1, inline_bytes};
    pair.reset(ibv_create_qp(domain.get(), &init));
    if (pair || inline_bytes == 0) break;
  }
  if (!pair) return verbs_failed("making a queue pair", errno);
  for (std::size_t i = 0; i < receives.size(); ++i) {
    receives[i] = {};
    receives[i].next = i + 1 < receives.size() ? &receives[i + 1] : nullptr;
  }
  return {};
}

Card VerbsEnd::card() const {
  Card card{};
  ibv_port_attr state{};
  (void)ibv_query_port(device.get(), port, &state);
  (void)ibv_query_gid(device.get(), port, gid_index, &card.gid);
  card.pair = pair->qp_num;
  card.first_packet = 0x1234;
  card.rkey = region->rkey;
  card.lid = state.lid;
  card.address = reinterpret_cast<std::uintptr_t>(buffer.data());
  return card;
}

Result<void> VerbsEnd::connect(const Card& other) {
  peer = other;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = port;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  int error = ibv_modify_qp(pair.get(), &attributes,
                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  for (std::uint32_t posted = 0; error == 0 && posted < kDepth; posted += kRefill) {
    if (!refill()) error = EIO;
  }
  attributes = {};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = mtu;
  attributes.dest_qp_num = peer.pair;
  attributes.rq_psn = peer.first_packet;
  attributes.min_rnr_timer = 12;
  attributes.ah_attr.is_global = 1;
  attributes.ah_attr.grh.dgid = peer.gid;
  attributes.ah_attr.grh.sgid_index = gid_index;
  attributes.ah_attr.grh.hop_limit = 64;
  attributes.ah_attr.dlid = peer.lid;
  attributes.ah_attr.port_num = port;
  if (error == 0) {
    error = ibv_modify_qp(pair.get(), &attributes,
                          IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                              IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  }
  attributes = {};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = 16;
  attributes.retry_cnt = 7;
  attributes.rnr_retry = 7;
  attributes.sq_psn = 0x1234;
  if (error == 0) {
    error = ibv_modify_qp(pair.get(), &attributes,
                          IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                              IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  }
  if (error != 0) return verbs_failed("connecting the queue pairs", error);
  return {};
}

class RawVerbs final : public RawCompletions<RawVerbs, VerbsEnd> {
 private:
  // Both ends open the device after the fork: a context must not be used by two processes.
  Result<void> open_server(base::HelperLink& other) override { return open(other); }
  Result<void> open_client(base::HelperLink& other) override { return open(other); }
  Result<void> open(base::HelperLink& other) {
    if (auto opened = this_end().open(max_size()); !opened) return opened;
    if (auto told = other.tell(this_end().card()); !told) return told;
    auto theirs = other.hear<Card>(kOpenLimit);
    if (!theirs) return tl::unexpected<Error>(std::move(theirs.error()));
    return this_end().connect(*theirs);
  }
};

}  // namespace

extern const RawTransport raw_verbs{
    .transport = "verbs",
    .hot = "a bare write-with-immediate ping-pong on the same device, both spinning",
    .warm = "as hot, the server sleeping on its completion channel",
    .stream = "bare RDMA writes, the same window, on the same device, one answer",
    .stream_copies = false,
    .start = &RawVerbs::start,
};

}  // namespace sublet::bench
