// The executor's side of set-up.

#include <base/log.hpp>
#include <transport/common/tcp_socket.hpp>
#include <transport/verbs/verbs_devices.hpp>
#include <transport/verbs/verbs_setup.hpp>

#include <arpa/inet.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::transport::verbs {

namespace {

/// "10.0.0.1:4711,[fd00::1]:4711".
std::string join(const std::vector<std::string>& hosts, std::uint16_t port) {
  std::string text;
  for (const std::string& host : hosts) {
    text += (text.empty() ? "" : ",") + HostPort{host, port}.to_string();
  }
  return text;
}

/// The addresses that `host` stands for.
Result<std::vector<std::string>> addresses_for(const std::string& host) {
  if (host.empty()) return active_addresses();
  if (SocketAddress::numeric(host, 0)) return std::vector<std::string>{host};
  auto ports = device_named(host);
  if (!ports) return tl::unexpected<Error>(std::move(ports.error()));
  std::vector<std::string> addresses;
  for (const Device& port : *ports) {
    if (!port.active) continue;
    addresses.insert(addresses.end(), port.addresses.begin(), port.addresses.end());
  }
  if (addresses.empty()) {
    return fail(ErrorKind::kUnsupported, "the RDMA device '" + host +
                                             "' has no active port with an "
                                             "IP address (its port is " +
                                             ports->front().state + ")");
  }
  return addresses;
}

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

/// Exposes the requests' ring, and nothing else, to the client of this queue pair. Returns the key;
/// the region's own where the device has no windows.
Result<std::uint32_t> expose(ServerParts& parts, std::size_t size) {
  if (!parts.window) return parts.ring->rkey;
  ibv_send_wr work{};
  work.opcode = IBV_WR_BIND_MW;
  work.send_flags = IBV_SEND_SIGNALED;
  work.bind_mw.mw = parts.window.get();
  work.bind_mw.rkey = ibv_inc_rkey(parts.window->rkey);
  work.bind_mw.bind_info.mr = parts.ring.get();
  work.bind_mw.bind_info.addr = reinterpret_cast<std::uintptr_t>(parts.memory.data());
  work.bind_mw.bind_info.length = size;
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

/// All of a channel but its connection's last step.
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

void reject(rdma_cm_id* id, Status status, const std::string& text) {
  const Rejection rejection = Rejection::of(status, text);
  (void)rdma_reject(id, &rejection, sizeof(rejection));
}

/// The client has gone, or cannot be reached.
bool is_an_end(rdma_cm_event_type type) {
  return type == RDMA_CM_EVENT_DISCONNECTED || type == RDMA_CM_EVENT_CONNECT_ERROR ||
         type == RDMA_CM_EVENT_UNREACHABLE || type == RDMA_CM_EVENT_REJECTED ||
         type == RDMA_CM_EVENT_DEVICE_REMOVAL;
}

}  // namespace

Listener::Listener(std::shared_ptr<ServerHub> hub, ConnectionId id, std::string address,
                   const ListenOptions& options)
    : options_(options), hub_(std::move(hub)), address_(std::move(address)), id_(std::move(id)) {}

Result<std::unique_ptr<Listener>> Listener::open(const ListenOptions& options,
                                                 const std::string& host) {
  if (const std::string why = why_unavailable(); !why.empty()) {
    return fail(ErrorKind::kUnsupported, "listening over RDMA: " + why);
  }
  auto addresses = addresses_for(host);
  if (!addresses) return tl::unexpected<Error>(std::move(addresses.error()));
  if (addresses->empty()) {
    return fail(ErrorKind::kUnsupported,
                "listening over RDMA: no active RDMA port has an IP address");
  }
  // One address is bound; several mean all, and the unspecified IPv6 address takes IPv4 too.
  const bool any_v6 = std::any_of(
      addresses->begin(), addresses->end(),
      [](const std::string& address) { return address.find(':') != std::string::npos; });
  const std::string bound = addresses->size() == 1 ? addresses->front() : any_v6 ? "::" : "0.0.0.0";
  auto target = SocketAddress::numeric(bound, 0);
  if (!target) return fail(ErrorKind::kInternal, "'" + bound + "' is no IP address");
  auto events = make_event_channel();
  if (!events) return tl::unexpected<Error>(std::move(events.error()));
  auto hub = std::make_shared<ServerHub>();
  hub->events = std::move(*events);
  hub->kick = base::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!hub->kick.valid()) return verbs_error(ErrorKind::kOverloaded, "making an eventfd", errno);
  rdma_cm_id* made = nullptr;
  if (rdma_create_id(hub->events.get(), &made, nullptr, RDMA_PS_TCP) != 0) {
    return verbs_error(ErrorKind::kUnsupported, "making a connection identifier", errno);
  }
  ConnectionId id(made);
  if (rdma_bind_addr(id.get(), target->get()) != 0 || rdma_listen(id.get(), kBacklog) != 0) {
    return verbs_error(ErrorKind::kUnsupported, "listening over RDMA at " + bound, errno);
  }
  std::string address = join(*addresses, ntohs(rdma_get_src_port(id.get())));
  return std::make_unique<Listener>(std::move(hub), std::move(id), std::move(address), options);
}

void Listener::append_poll_fds(std::vector<pollfd>& fds) const {
  fds.push_back({hub_->events->fd, POLLIN, 0});
  fds.push_back({hub_->kick.get(), POLLIN, 0});
  for (const auto& domain : domains_) fds.push_back({domain->context->async_fd, POLLIN, 0});
}

Result<std::shared_ptr<ibv_pd>> Listener::domain_of(ibv_context* device) {
  for (const auto& domain : domains_) {
    if (domain->context == device) return domain;
  }
  auto domain = make_domain(device);
  if (!domain) return tl::unexpected<Error>(std::move(domain.error()));
  domains_.push_back(std::move(*domain));
  return domains_.back();
}

void Listener::answer(Request request, const MayTake& may_take, const Accepted& accepted) {
  auto connection = std::make_shared<ServerConnection>();
  connection->hub = hub_;
  connection->id = std::move(request.id);
  rdma_cm_id* const id = connection->id.get();
  const Hello& hello = request.hello;
  if (!request.well_formed) return reject(id, Status::kInvalid, "the greeting is malformed");
  if (const auto refusal = why_refused(hello, kVersion, options_, may_take)) {
    return reject(id, refusal->status, refusal->text);
  }
  const auto failed = [&](const Error& error) {
    base::log().error("a client of worker {} could not be connected: {}", hello.worker,
                      error.what());
    reject(id, Status::kInvalid, error.what());
  };
  auto domain = domain_of(id->verbs);
  if (!domain) return failed(domain.error());
  connection->domain = std::move(*domain);
  auto parts = make_parts(connection, hello);
  if (!parts) return failed(parts.error());
  for (const auto state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
    if (auto done = modify(parts->pair.get(), id, state, request.reads, options_.peer_timeout);
        !done) {
      return failed(done.error());
    }
  }
  auto key = expose(*parts, ServerLayout{hello.slots, parts->slot_payload}.requests_size());
  if (!key) return failed(key.error());
  const Welcome welcome{kAnswerMagic, *key, reinterpret_cast<std::uintptr_t>(parts->memory.data()),
                        static_cast<std::uint32_t>(parts->slot_payload), 0};
  const std::uint32_t number = parts->pair->qp_num;
  auto channel = std::make_unique<ServerChannel>(std::move(*parts));
  rdma_conn_param parameters{};
  parameters.private_data = &welcome;
  parameters.private_data_len = sizeof(welcome);
  parameters.responder_resources = 1;
  parameters.initiator_depth = request.reads;
  parameters.rnr_retry_count = kReceiverNotReadyRetries;
  parameters.qp_num = number;
  if (rdma_accept(id, &parameters) != 0) {
    base::log().warn("a client of worker {} went away while it was being connected: {}",
                     hello.worker, std::strerror(errno));
    return;
  }
  clients_.emplace(id, Client{hello.worker, connection});
  accepted(hello.worker, std::move(channel));
}

void Listener::drop(rdma_cm_id* id, const Ended& ended) {
  const auto entry = clients_.find(id);
  if (entry == clients_.end()) return;
  const Client client = std::move(entry->second);
  clients_.erase(entry);
  client.connection->peer_gone.store(true);
  client.connection->disconnect();  // answers the client's
  // A channel that this side has ended is known to its owner, who may have given the worker
  // another.
  if (!client.connection->channel_gone.load()) ended(client.worker);
}

std::vector<Listener::Request> Listener::read_events(const Ended& ended) {
  std::vector<Request> requests;
  while (ConnectionEvent event = next_event(hub_->events.get())) {
    const auto type = event->event;
    if (type != RDMA_CM_EVENT_CONNECT_REQUEST) {
      rdma_cm_id* const id = event->id;
      event.reset();
      if (is_an_end(type)) drop(id, ended);
      continue;
    }
    Request request;
    request.id.reset(event->id);
    const auto& said = event->param.conn;
    if (said.private_data != nullptr && said.private_data_len >= sizeof(request.hello)) {
      std::memcpy(&request.hello, said.private_data, sizeof(request.hello));
      request.well_formed = request.hello.magic == kMagic;
    }
    request.reads = std::min(said.initiator_depth, kReadsUnderWay);
    event.reset();
    requests.push_back(std::move(request));
  }
  return requests;
}

void Listener::drop_broken(const Ended& ended) {
  eventfd_t kicks = 0;
  const bool kicked = ::eventfd_read(hub_->kick.get(), &kicks) == 0;
  std::vector<rdma_cm_id*> lost;
  for (const auto& [id, client] : clients_) {
    if (kicked && client.connection->broken.load()) lost.push_back(id);
  }
  for (const auto& domain : domains_) {
    if (!device_is_dead(domain->context)) continue;
    for (const auto& [id, client] : clients_) {
      if (id->verbs == domain->context) lost.push_back(id);
    }
  }
  std::erase_if(domains_, [](const auto& domain) { return device_is_dead(domain->context); });
  for (rdma_cm_id* id : lost) drop(id, ended);
}

void Listener::service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) {
  // Ends before beginnings: a client that connects again finds its worker free.
  std::vector<Request> requests = read_events(ended);
  drop_broken(ended);
  for (Request& request : requests) answer(std::move(request), may_take, accepted);
}

}  // namespace sublet::transport::verbs
