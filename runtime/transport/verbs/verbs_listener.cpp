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
    : doorkeeper_(options),
      hub_(std::move(hub)),
      address_(std::move(address)),
      id_(std::move(id)) {}

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
  const ListenOptions& options = doorkeeper_.options();
  if (!request.well_formed) return reject(id, Status::kInvalid, "the greeting is malformed");
  if (const auto refusal = doorkeeper_.why_refused(hello, kVersion, may_take)) {
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
  if (auto done = connect_pair(*parts, request.reads, options.peer_timeout); !done) {
    return failed(done.error());
  }
  auto key = expose(*parts);
  if (!key) return failed(key.error());
  const Welcome welcome{kAnswerMagic,
                        *key,
                        reinterpret_cast<std::uintptr_t>(parts->memory.data()),
                        static_cast<std::uint32_t>(parts->slot_payload),
                        0,
                        executor_proof(options.token, options.generation, hello)};
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
