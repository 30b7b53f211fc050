#include <base/log.hpp>
#include <transport/fabric/fabric_setup.hpp>

#include <rdma/fi_errno.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::transport::fabric {
namespace {

/// While a welcomed client connects its endpoint: libfabric's tcp provider (1.17) does not always
/// make the event queue's descriptor readable (3 of 43 set-ups on a loaded machine, 0 of 40 with
/// looks of its own).
constexpr int kCandidateLookMs = 10;

constexpr std::size_t kEventBytes = sizeof(fi_eq_cm_entry) + 256;

/// The address of this node on an IP network, as text; the host's name elsewhere.
std::string reachable_host(const fi_info& info) {
  if (has_ip_addresses(info) && info.src_addr != nullptr) {
    std::string host = host_text(static_cast<const sockaddr*>(info.src_addr),
                                 static_cast<socklen_t>(info.src_addrlen));
    if (!host.empty()) return host;
  }
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return host.data();
}

bool same_nonce(const Nonce& nonce, std::span<const std::byte> claimed) {
  if (claimed.size() < nonce.size()) return false;  // providers may round the size up
  static_assert(sizeof(Nonce) == sizeof(Token));
  Token other;
  std::memcpy(other.data(), claimed.data(), other.size());
  return same_token(nonce, other);
}

}  // namespace

Listener::Listener(base::Fd socket, std::string address, const ListenOptions& options,
                   std::shared_ptr<const Provider> provider)
    : SocketListener(std::move(socket), std::move(address), {kMagic, kVersion, sizeof(Hello)},
                     options),
      provider_(std::move(provider)) {}

Result<std::unique_ptr<Listener>> Listener::open(const ListenOptions& options,
                                                 const std::string& host) {
  auto socket = listen_on(host);
  if (!socket) return tl::unexpected<Error>(socket.error());
  auto provider = find_provider({}, std::nullopt, host);
  if (!provider) return tl::unexpected<Error>(provider.error());
  auto address = address_of(socket->get());
  if (!address) return tl::unexpected<Error>(address.error());
  address->host = host.empty() ? reachable_host(*(*provider)->info) : host;
  std::unique_ptr<Listener> listener(
      new Listener(std::move(*socket), address->to_string(), options, std::move(*provider)));
  if (listener->provider_->kind == EndpointKind::kConnected) {
    if (auto opened = listener->open_endpoint(); !opened) {
      return tl::unexpected<Error>(opened.error());
    }
  }
  return listener;
}

Result<void> Listener::open_endpoint() {
  const auto failed = [this](const char* attempt, int error) {
    return fail(ErrorKind::kUnsupported, "libfabric provider '" + provider_->name +
                                             "': " + attempt + ": " + fabric_error(error));
  };
  fi_eq_attr attributes{};
  attributes.wait_obj = FI_WAIT_FD;
  fid_eq* events = nullptr;
  int error = fi_eq_open(provider_->fabric.get(), &attributes, &events, nullptr);
  if (error != 0) return failed("opening an event queue", error);
  events_.reset(events);
  fi_control(&events->fid, FI_GETWAIT, &event_fd_);
  fid_pep* passive = nullptr;
  error = fi_passive_ep(provider_->fabric.get(), provider_->info.get(), &passive, nullptr);
  if (error != 0) return failed("making a passive endpoint", error);
  passive_.reset(passive);
  if ((error = fi_pep_bind(passive, &events->fid, 0)) != 0) {
    return failed("binding a passive endpoint", error);
  }
  if ((error = fi_listen(passive)) != 0) return failed("listening", error);
  passive_address_.resize(kMaxAddress);
  std::size_t size = passive_address_.size();
  if ((error = fi_getname(&passive->fid, passive_address_.data(), &size)) != 0) {
    return failed("asking for its address", error);
  }
  passive_address_.resize(size);
  return {};
}

void Listener::append_poll_fds(std::vector<pollfd>& fds) {
  look_again_ = false;
  const auto add_events = [&](fid* events, int fd) {
    fid* fids[] = {events};
    if (fi_trywait(provider_->fabric.get(), fids, 1) != 0) look_again_ = true;
    fds.push_back({fd, POLLIN, 0});
  };
  SocketListener::append_poll_fds(fds);
  if (events_) add_events(&events_->fid, event_fd_);
  for (const Candidate& candidate : candidates_) {
    fds.push_back({candidate.side.link->get(), POLLIN, 0});
    if (candidate.side.endpoint->event_fd() >= 0) {
      fds.push_back({candidate.side.endpoint->event_fd(), POLLIN, 0});
    }
  }
}

int Listener::poll_timeout_ms() const {
  if (look_again_) return 0;
  int shortest = SocketListener::poll_timeout_ms();
  if (candidates_.empty()) return shortest;
  const int own = timeout_until(candidates_.front().deadline);  // the oldest
  shortest = shortest < 0 ? own : std::min(shortest, own);
  return std::min(shortest, kCandidateLookMs);
}

void Listener::accept_endpoints() {
  if (!events_) return;
  for (;;) {
    alignas(fi_eq_cm_entry) std::array<std::byte, kEventBytes> buffer;
    std::uint32_t event = 0;
    const ssize_t got = fi_eq_read(events_.get(), &event, buffer.data(), buffer.size(), 0);
    if (got == -FI_EAVAIL) {
      fi_eq_err_entry error{};
      if (fi_eq_readerr(events_.get(), &error, 0) <= 0) return;
      continue;
    }
    if (got < static_cast<ssize_t>(sizeof(fi_eq_cm_entry))) return;
    if (event != FI_CONNREQ) continue;
    auto* const entry = reinterpret_cast<fi_eq_cm_entry*>(buffer.data());
    const Info request(entry->info);
    accept_endpoint(request.get(), {reinterpret_cast<const std::byte*>(entry->data),
                                    static_cast<std::size_t>(got) - sizeof(fi_eq_cm_entry)});
  }
}

void Listener::accept_endpoint(fi_info* request, std::span<const std::byte> nonce) {
  for (Candidate& candidate : candidates_) {
    if (candidate.connected || !same_nonce(candidate.nonce, nonce)) continue;
    candidate.nonce = {};
    (void)::getrandom(candidate.nonce.data(), candidate.nonce.size(), 0);  // used once
    Result<void> done = candidate.side.endpoint->create(request);
    if (done) done = candidate.side.endpoint->accept();
    if (!done) {
      base::log().warn("fabric: {}", done.error().what());
      candidate.deadline = {};
    }
    return;
  }
  fi_reject(passive_.get(), request->handle, nullptr, 0);
}

bool Listener::is_taken(std::uint32_t worker) const {
  return std::any_of(candidates_.begin(), candidates_.end(),
                     [&](const Candidate& candidate) { return candidate.worker == worker; });
}

void Listener::service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) {
  const auto is_free = [&](std::uint32_t worker) { return !is_taken(worker) && may_take(worker); };
  serve_lobby(is_free, ended, [&](Lobby::Guest guest) { admit(std::move(guest)); });
  accept_endpoints();
  for (auto at = candidates_.begin(); at != candidates_.end();) {
    Outcome outcome = advance(*at);
    if (outcome == Outcome::kWaiting && std::chrono::steady_clock::now() >= at->deadline) {
      outcome = Outcome::kOver;
    }
    if (outcome == Outcome::kChannel) {
      connections().add(at->worker, at->side.link->get(), at->side.link, ended);
      accepted(at->worker,
               std::make_unique<ServerChannel>(std::move(at->side), std::move(at->mirror)));
    }
    at = outcome == Outcome::kWaiting ? std::next(at) : candidates_.erase(at);
  }
}

void Listener::admit(Lobby::Guest guest) {
  const int link = guest.socket.get();
  auto candidate = make_candidate(guest);
  auto answer =
      candidate ? welcome(guest.greeting, *candidate) : tl::unexpected<Error>(candidate.error());
  if (!answer) {
    base::log().warn("fabric: a client was refused: {}", answer.error().what());
    return refuse(link, Status::kInvalid, answer.error().what());
  }
  // The socket is fresh: so little always fits.
  if (!send_all(link, bytes_of(*answer), {})) return;
  candidate->side.link = std::make_shared<base::Fd>(std::move(guest.socket));
  candidates_.push_back(std::move(*candidate));
}

Listener::Outcome Listener::advance(Candidate& candidate) {
  if (!candidate.connected && candidate.side.endpoint->ready()) {
    const auto connected = candidate.side.endpoint->connected(std::chrono::milliseconds(0));
    if (!connected) return Outcome::kOver;
    candidate.connected = *connected;
  }
  return take_keys(candidate);
}

Result<Listener::Candidate> Listener::make_candidate(const Lobby::Guest& guest) const {
  const Hello& hello = guest.greeting;
  if (hello.arena_size == 0) return fail(ErrorKind::kInvalid, "the arena is empty");
  if (auto done = prepare_connection(guest.socket.get(), options().peer_timeout); !done) {
    return tl::unexpected<Error>(done.error());
  }
  // Small pages: each worker has a mirror, and only what its calls touch shall take memory.
  auto mirror = base::SharedMemory::create("sublet-mirror", hello.arena_size,
                                           base::SharedMemory::Pages::kSmall);
  if (!mirror) return tl::unexpected<Error>(mirror.error());
  auto endpoint = Endpoint::open(provider_, hello.slots);
  if (!endpoint) return tl::unexpected<Error>(endpoint.error());
  Candidate candidate;
  candidate.deadline = std::chrono::steady_clock::now() + kKeysTimeout;
  candidate.worker = hello.worker;
  candidate.mirror = std::move(*mirror);
  candidate.side.slots = hello.slots;
  candidate.side.endpoint = std::move(*endpoint);
  return candidate;
}

Result<Welcome> Listener::welcome(const Hello& hello, Candidate& candidate) const {
  Welcome welcome{};
  static_cast<Answer&>(welcome) = welcome_to(options(), hello);
  welcome.kind = static_cast<std::uint8_t>(provider_->kind);
  provider_->name.copy(welcome.provider.data(), welcome.provider.size() - 1);
  std::vector<std::byte> address = passive_address_;
  if (provider_->kind == EndpointKind::kConnected) {
    if (::getrandom(candidate.nonce.data(), candidate.nonce.size(), 0) !=
        static_cast<ssize_t>(candidate.nonce.size())) {
      return fail(ErrorKind::kInternal, "no random bytes", errno);
    }
    welcome.nonce = candidate.nonce;
  } else {
    if (auto made = candidate.side.endpoint->create(nullptr); !made) {
      return tl::unexpected<Error>(made.error());
    }
    auto own = candidate.side.endpoint->address();
    if (!own) return tl::unexpected<Error>(own.error());
    address = std::move(*own);
  }
  welcome.address_size = static_cast<std::uint16_t>(address.size());
  std::memcpy(welcome.address.data(), address.data(), address.size());
  return welcome;
}

Listener::Outcome Listener::take_keys(Candidate& candidate) {
  Side& side = candidate.side;
  Keys& keys = side.peer;
  const auto missing = writable_bytes_of(keys).subspan(candidate.received);
  if (!missing.empty()) {
    const Received got = receive_some(side.link->get(), missing);
    candidate.received += got.size;
    if (got.ended) return Outcome::kOver;
  }
  if (!candidate.connected || candidate.received < sizeof(keys)) return Outcome::kWaiting;
  if (keys.magic != kMagic || keys.address_size > keys.address.size() ||
      keys.ring.size < side.slots * sizeof(ReplySlot)) {
    return Outcome::kOver;
  }
  Result<void> done;
  if (provider_->kind == EndpointKind::kConnectionless) {
    done = side.endpoint->set_peer({keys.address.data(), keys.address_size});
  }
  if (done) {
    done = prepare_memory(side, sizeof(ReplySlot), sizeof(RequestSlot), candidate.mirror.data(),
                          candidate.mirror.size());
  }
  if (!done) {
    base::log().warn("fabric: {}", done.error().what());
    return Outcome::kOver;
  }
  const auto own = keys_of(side, sizeof(ReplySlot));
  if (!own || !send_all(side.link->get(), bytes_of(*own), {})) return Outcome::kOver;
  return Outcome::kChannel;
}

}  // namespace sublet::transport::fabric
