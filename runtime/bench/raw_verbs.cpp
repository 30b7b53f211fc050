#include "raw_verbs.hpp"

#include "cpus.hpp"
#include <base/clock.hpp>

#include <arpa/inet.h>
#include <infiniband/verbs.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>

namespace sublet::bench {
namespace {

constexpr std::uint32_t kDepth = 64;
constexpr std::uint32_t kRefill = 32;
constexpr std::uint32_t kInlineWanted = 256;
constexpr std::size_t kPage = 4096;
constexpr std::uint32_t kStopWord = 0xffff'ffff;
constexpr std::uint64_t kStreamWrite = 1;  ///< The others have 0.
/// So many polls outlast any exchange: no measured one pays for the look at the server.
constexpr std::uint32_t kPollsPerCheck = 1u << 20;
constexpr auto kMeetingLimit = 10s;

template <auto Destroy>
struct Destroyer {
  template <class T>
  void operator()(T* object) const noexcept {
    Destroy(object);
  }
};
template <class T, auto Destroy>
using Owner = std::unique_ptr<T, Destroyer<Destroy>>;

void futex_wait(std::uint32_t* word, std::uint32_t seen) {
  ::syscall(SYS_futex, word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}
void futex_wake(std::uint32_t* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}
std::uint32_t* word_of(std::atomic<std::uint32_t>& word) {
  return reinterpret_cast<std::uint32_t*>(&word);
}

tl::unexpected<Error> verbs_failed(const std::string& attempted, int number) {
  return fail(ErrorKind::kUnsupported,
              "the bare RDMA exchange: " + attempted + ": " + std::strerror(number), number);
}

/// What one side must know of the other.
struct Card {
  std::uint32_t pair;
  std::uint32_t first_packet;
  std::uint32_t rkey;
  std::uint16_t lid;
  std::uint16_t unused;
  std::uint64_t address;
  ibv_gid gid;
};

}  // namespace

/// PROTOCOL  Each side fills its card and sets its flag; each waits for the other's. Then commands
/// as in
///           raw_layout.hpp.
struct RawVerbs::Meeting {
  alignas(kAlone) Card server;
  std::atomic<std::uint32_t> server_ready;  ///< 1: filled; 2: connected; 3: failed.
  alignas(kAlone) Card client;
  std::atomic<std::uint32_t> client_ready;
  std::array<char, 256> failure;
  alignas(kAlone) std::atomic<std::uint32_t> command;
  RawKind kind;
  std::uint64_t size;
  alignas(kAlone) std::atomic<std::uint32_t> state;
};

/// One side's queue pair and buffer.
struct RawVerbs::End {
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
  std::uint64_t writes_done = 0;  ///< By start_write.
  std::array<ibv_recv_wr, kRefill> receives{};

  Result<void> open(const std::string& name, std::size_t size);
  Result<void> connect(const Card& other);
  [[nodiscard]] Card card() const;

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
    if (++unsignalled == kRawSignalEvery) {
      unsignalled = 0;
      work.send_flags |= IBV_SEND_SIGNALED;
    }
    work.imm_data = htonl(word);
    work.wr.rdma.remote_addr = peer.address;
    work.wr.rdma.rkey = peer.rkey;
    ibv_send_wr* bad = nullptr;
    return ibv_post_send(pair.get(), &work, &bad) == 0;
  }
  /// A plain write, which takes no receive and completes here (see writes_done).
  [[nodiscard]] bool start_write(std::size_t size, std::size_t offset) noexcept {
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
    return ibv_post_send(pair.get(), &work, &bad) == 0;
  }
  /// 1: a message came, `word` is its immediate; 0: nothing; -1: the queue pair has failed.
  [[nodiscard]] int receive(std::uint32_t& word) noexcept {
    ibv_wc done;
    // 0 means that the queue is empty: who sleeps then would not be woken for what is left in it.
    for (;;) {
      const int count = ibv_poll_cq(queue.get(), 1, &done);
      if (count == 0) return 0;
      if (count < 0 || done.status != IBV_WC_SUCCESS) return -1;
      if (done.wr_id == kStreamWrite) ++writes_done;
      if (done.opcode == IBV_WC_RECV_RDMA_WITH_IMM) break;
    }
    word = ntohl(done.imm_data);
    if (++used == kRefill && !refill()) return -1;
    return 1;
  }
  bool serve_hot(std::size_t size) noexcept;
  bool serve_warm(std::size_t size) noexcept;
};

Result<void> RawVerbs::End::open(const std::string& name, std::size_t size) {
  int count = 0;
  const Owner<ibv_device*, &ibv_free_device_list> list(ibv_get_device_list(&count));
  for (int i = 0; i < count && !device; ++i) {
    ibv_device* candidate = list.get()[i];
    if (!name.empty() && name != ibv_get_device_name(candidate)) continue;
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

Card RawVerbs::End::card() const {
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

Result<void> RawVerbs::End::connect(const Card& other) {
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

// ---- the server's side ----

bool RawVerbs::End::serve_hot(std::size_t size) noexcept {
  for (;;) {
    std::uint32_t word = 0;
    const int got = receive(word);
    if (got == 0) continue;
    if (got < 0) return false;
    if (word == kStopWord) return true;
    if (!send(size, word)) return false;
  }
}

bool RawVerbs::End::serve_warm(std::size_t size) noexcept {
  for (;;) {
    if (ibv_req_notify_cq(queue.get(), 0) != 0) return false;
    std::uint32_t word = 0;
    int got = receive(word);  // what came before the queue was armed raises no event
    if (got == 0) {
      ibv_cq* ready = nullptr;
      void* context = nullptr;
      if (ibv_get_cq_event(channel.get(), &ready, &context) != 0) return false;
      ibv_ack_cq_events(ready, 1);
      got = receive(word);
    }
    if (got < 0) return false;
    if (got == 0) continue;
    if (word == kStopWord) return true;
    if (!send(size, word)) return false;
  }
}

// ---- the client's side ----

RawVerbs::RawVerbs() = default;
RawVerbs::RawVerbs(RawVerbs&&) noexcept = default;
RawVerbs& RawVerbs::operator=(RawVerbs&&) noexcept = default;
RawVerbs::~RawVerbs() = default;

RawVerbs::Meeting& RawVerbs::meeting() noexcept {
  return *std::launder(reinterpret_cast<Meeting*>(memory_.data()));
}

Result<RawVerbs> RawVerbs::start(std::size_t max_size, const std::string& device) {
  auto memory =
      base::SharedMemory::create("sublet-bench", kPage, base::SharedMemory::Pages::kSmall);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
  RawVerbs raw;
  raw.memory_ = std::move(*memory);
  raw.max_size_ = max_size;
  static_assert(sizeof(Meeting) <= kPage);
  Meeting* const meeting = new (raw.memory_.data()) Meeting{};

  // Both ends open the device after the fork: a context must not be used by two processes.
  auto process = HelperProcess::start([&] {
    End end;
    auto opened = end.open(device, max_size);
    if (opened) {
      meeting->server = end.card();
      meeting->server_ready.store(1, std::memory_order_release);
      while (meeting->client_ready.load(std::memory_order_acquire) != 1) ::usleep(100);
      opened = end.connect(meeting->client);
    }
    if (!opened) {
      std::strncpy(meeting->failure.data(), opened.error().what(), meeting->failure.size() - 1);
      meeting->server_ready.store(3, std::memory_order_release);
      return;
    }
    meeting->server_ready.store(2, std::memory_order_release);
    for (std::uint32_t done = 0;;) {
      std::uint32_t command = 0;
      while ((command = meeting->command.load(std::memory_order_acquire)) == done) {
        futex_wait(word_of(meeting->command), done);
      }
      done = command;
      const RawKind kind = meeting->kind;
      const std::size_t size = meeting->size;
      meeting->state.store(command, std::memory_order_release);
      const bool ended = kind == RawKind::kWarm ? end.serve_warm(size) : end.serve_hot(size);
      if (!ended) return;
      meeting->state.store(kAsleep, std::memory_order_release);
    }
  });
  if (!process) return tl::unexpected<Error>(std::move(process.error()));
  raw.server_ = std::move(*process);
  raw.end_ = std::make_unique<End>();
  if (auto opened = raw.end_->open(device, max_size); !opened) {
    return tl::unexpected<Error>(std::move(opened.error()));
  }
  meeting->client = raw.end_->card();
  meeting->client_ready.store(1, std::memory_order_release);
  const auto limit = base::Deadline::after(kMeetingLimit);
  const auto server_got_to = [&](std::uint32_t step) {
    while (meeting->server_ready.load(std::memory_order_acquire) < step && raw.server_.alive() &&
           !limit.passed()) {
      ::usleep(100);
    }
    return meeting->server_ready.load(std::memory_order_acquire);
  };
  if (const auto step = server_got_to(1); step == 1 || step == 2) {
    if (auto joined = raw.end_->connect(meeting->server); !joined) {
      return tl::unexpected<Error>(std::move(joined.error()));
    }
  }
  if (server_got_to(2) != 2) {
    return fail(ErrorKind::kUnsupported,
                std::string("the bare RDMA exchange's server: ") +
                    (meeting->failure[0] != 0 ? meeting->failure.data() : "it does not answer"));
  }
  return raw;
}

Result<void> RawVerbs::pin_server(int cpu) {
  return pin(server_.pid(), cpu);
}

bool RawVerbs::server_is_there() noexcept {
  if (!server_.alive()) return false;
  const base::Ticks now = base::ticks();
  if (waiting_since_ == 0) waiting_since_ = now;
  return now - waiting_since_ < base::TickRate::get().from(kRawExchangeLimit);
}

tl::unexpected<Error> RawVerbs::server_gone() const {
  return fail(ErrorKind::kInternal, server_.alive()
                                        ? "the bare RDMA exchange's server (process " +
                                              std::to_string(server_.pid()) + ") does not answer"
                                        : std::string("the bare RDMA exchange's server has ended"));
}

Result<void> RawVerbs::begin(RawKind kind, std::size_t size) {
  if (size > max_size_) return fail(ErrorKind::kInternal, "bare exchange larger than its buffer");
  number_ = 0;
  size_ = size;
  meeting().kind = kind;
  meeting().size = kind == RawKind::kStream ? 0 : size;  // a stream's answer is empty
  if (++commands_ == kAsleep) ++commands_;
  meeting().command.store(commands_, std::memory_order_release);
  futex_wake(word_of(meeting().command));
  waiting_since_ = 0;
  while (meeting().state.load(std::memory_order_acquire) != commands_) {
    base::cpu_pause();
    if (!server_is_there()) return server_gone();
  }
  return {};
}

Result<void> RawVerbs::end() {
  if (!end_->send(0, kStopWord)) return server_gone();
  waiting_since_ = 0;
  while (meeting().state.load(std::memory_order_acquire) != kAsleep) {
    base::cpu_pause();
    if (!server_is_there()) return server_gone();
  }
  return {};
}

bool RawVerbs::exchange_hot(const std::byte* in, std::byte* out) noexcept {
  End& end = *end_;
  const auto number = static_cast<std::uint32_t>(++number_ & 0x7fff'ffff);
  std::memcpy(end.buffer.data(), in, size_);
  if (!end.send(size_, number)) return false;
  std::uint32_t word = 0;
  for (std::uint32_t polls = 1;; ++polls) {
    const int got = end.receive(word);
    if (got < 0) return false;
    if (got > 0 && word == number) break;
    if (polls % kPollsPerCheck == 0 && !server_is_there()) return false;
  }
  waiting_since_ = 0;
  std::memcpy(out, end.buffer.data(), size_);
  return true;
}

Result<double> RawVerbs::write_bandwidth(std::size_t size, std::uint64_t count,
                                         std::size_t window) {
  const std::size_t stride = stream_stride(size);
  if (window * stride > max_size_) {
    return fail(ErrorKind::kInternal, "bare stream larger than its buffer");
  }
  End& end = *end_;
  const std::uint64_t before = end.writes_done;
  const auto number = static_cast<std::uint32_t>(++number_ & 0x7fff'ffff);
  std::uint32_t word = 0;
  std::uint32_t polls = 0;
  const auto look = [&] {
    return end.receive(word) >= 0 && (++polls % kPollsPerCheck != 0 || server_is_there());
  };
  const base::Ticks start = base::ticks();
  for (std::uint64_t i = 0; i < count; ++i) {
    while (before + i - end.writes_done >= window) {
      if (!look()) return server_gone();
    }
    if (!end.start_write(size, i % window * stride)) return server_gone();
  }
  if (!end.send(0, number)) return server_gone();
  // Also the last writes' completions: the next stream counts its own.
  while (word != number || end.writes_done - before < count) {
    if (!look()) return server_gone();
  }
  waiting_since_ = 0;
  const auto ns = base::TickRate::get().to_ns(base::ticks() - start);
  return static_cast<double>(size * count) * 1e9 / static_cast<double>(ns);
}

}  // namespace sublet::bench
