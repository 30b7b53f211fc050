#include <base/clock.hpp>
#include <transport/verbs/verbs_server_parts.hpp>
#include <transport/verbs/verbs_tuning.hpp>

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace sublet::transport::verbs {
namespace {

Result<void> modify(ibv_qp* pair, rdma_cm_id* id, ibv_qp_state state, std::uint8_t reads,
                    std::chrono::milliseconds peer_timeout) {
  ibv_qp_attr attributes{};
  int mask = 0;
  attributes.qp_state = state;
  if (rdma_init_qp_attr(id, &attributes, &mask) != 0) {
    return verbs_error(ErrorKind::kInternal, "asking how to connect a queue pair", errno);
  }
  if (state == IBV_QPS_INIT) attributes.qp_access_flags |= IBV_ACCESS_REMOTE_WRITE;
  if (state == IBV_QPS_RTS) {
    attributes.timeout = ack_timeout_for(peer_timeout);
    attributes.retry_cnt = kRetries;
    attributes.rnr_retry = kReceiverNotReadyRetries;
    attributes.max_rd_atomic = reads;
    mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
  }
  if (const int error = ibv_modify_qp(pair, &attributes, mask); error != 0) {
    return verbs_error(ErrorKind::kInternal,
                       "bringing a queue pair to state " + std::to_string(state), error);
  }
  return {};
}

/// The worker's memory and its registrations, with slots of `slot_payload` bytes.
Result<void> add_memory(ServerParts& parts, ibv_pd* domain, std::size_t slot_payload, int access) {
  const ServerLayout layout{parts.slots, slot_payload};
  parts.ring.reset();
  parts.local.reset();
  parts.slot_payload = slot_payload;
  auto memory = base::SharedMemory::create("sublet-verbs-worker", layout.size(),
                                           base::SharedMemory::Pages::kSmall);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
  parts.memory = std::move(*memory);
  auto ring = register_memory(domain, parts.memory.data() + layout.requests(),
                              layout.requests_size(), access);
  if (!ring) return tl::unexpected<Error>(std::move(ring.error()));
  parts.ring = std::move(*ring);
  auto local = register_memory(domain, parts.memory.data() + layout.outputs(),
                               layout.size() - layout.outputs(), IBV_ACCESS_LOCAL_WRITE);
  if (!local) return tl::unexpected<Error>(std::move(local.error()));
  parts.local = std::move(*local);
  return {};
}

}  // namespace

Result<ServerParts> make_parts(std::shared_ptr<ServerConnection> connection, const Hello& hello) {
  rdma_cm_id* id = connection->id.get();
  ibv_context* device = id->verbs;
  ibv_device_attr limits{};
  if (const int error = ibv_query_device(device, &limits); error != 0) {
    return verbs_error(ErrorKind::kInternal, "asking the RDMA device for its limits", error);
  }
  const QueueDepths depths = QueueDepths::of(hello.slots);
  const bool windows = (limits.device_cap_flags &
                        (IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B)) != 0;
  ServerParts parts;
  const int access = windows ? IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND
                             : IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
  parts.slots = hello.slots;
  ibv_pd* const domain = connection->domain.get();
  auto added = add_memory(parts, domain, slot_payload_for(hello.slots), access);
  // Locked memory is short: smaller slots, and larger inputs are fetched.
  if (!added) added = add_memory(parts, domain, kLeastSlotPayload, access);
  if (!added) return tl::unexpected<Error>(std::move(added.error()));
  auto wake = make_wake_channel(device);
  if (!wake) return tl::unexpected<Error>(std::move(wake.error()));
  parts.wake = std::move(*wake);
  auto queue = make_queue(device, depths.completions(), parts.wake.get());
  if (!queue) return tl::unexpected<Error>(std::move(queue.error()));
  parts.queue = std::move(*queue);
  parts.interrupt = base::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!parts.interrupt.valid()) {
    return verbs_error(ErrorKind::kOverloaded, "making an eventfd", errno);
  }
  parts.inline_bytes = std::min(max_inline(device), kInlineWanted);
  ibv_qp_init_attr init{};
  init.send_cq = parts.queue.get();
  init.recv_cq = parts.queue.get();
  init.qp_type = IBV_QPT_RC;
  init.cap.max_send_wr = depths.sends;
  init.cap.max_recv_wr = depths.receives;
  init.cap.max_send_sge = 1;
  init.cap.max_recv_sge = 1;
  init.cap.max_inline_data = parts.inline_bytes;
  parts.pair.reset(ibv_create_qp(connection->domain.get(), &init));
  if (!parts.pair) return verbs_error(ErrorKind::kOverloaded, "making a queue pair", errno);
  if (windows) parts.window.reset(ibv_alloc_mw(connection->domain.get(), IBV_MW_TYPE_2));
  if (windows && !parts.window) {
    return verbs_error(ErrorKind::kOverloaded, "making a memory window", errno);
  }
  parts.arena_size = hello.arena_size;
  parts.replies_address = hello.replies_address;
  parts.replies_rkey = hello.replies_rkey;
  parts.connection = std::move(connection);
  return parts;
}

Result<void> connect_pair(const ServerParts& parts, std::uint8_t reads,
                          std::chrono::milliseconds peer_timeout) {
  for (const auto state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
    auto done = modify(parts.pair.get(), parts.connection->id.get(), state, reads, peer_timeout);
    if (!done) return done;
  }
  return {};
}

Result<std::uint32_t> expose(ServerParts& parts) {
  if (!parts.window) return parts.ring->rkey;
  ibv_send_wr work{};
  work.opcode = IBV_WR_BIND_MW;
  work.send_flags = IBV_SEND_SIGNALED;
  work.bind_mw.mw = parts.window.get();
  work.bind_mw.rkey = ibv_inc_rkey(parts.window->rkey);
  work.bind_mw.bind_info.mr = parts.ring.get();
  work.bind_mw.bind_info.addr = reinterpret_cast<std::uintptr_t>(parts.memory.data());
  work.bind_mw.bind_info.length = ServerLayout{parts.slots, parts.slot_payload}.requests_size();
  work.bind_mw.bind_info.mw_access_flags = IBV_ACCESS_REMOTE_WRITE;
  ibv_send_wr* bad = nullptr;
  if (const int error = ibv_post_send(parts.pair.get(), &work, &bad); error != 0) {
    return verbs_error(ErrorKind::kInternal, "binding a memory window", error);
  }
  // A local operation: it waits for nobody.
  ibv_wc done{};
  int count = 0;
  const base::Deadline limit = base::Deadline::after(std::chrono::seconds(1));
  while ((count = ibv_poll_cq(parts.queue.get(), 1, &done)) == 0 && !limit.passed()) {
  }
  if (count != 1 || done.status != IBV_WC_SUCCESS) {
    return fail(ErrorKind::kInternal,
                std::string("binding a memory window: ") +
                    (count == 1 ? ibv_wc_status_str(done.status) : "the device does not answer"));
  }
  return work.bind_mw.rkey;
}

}  // namespace sublet::transport::verbs
