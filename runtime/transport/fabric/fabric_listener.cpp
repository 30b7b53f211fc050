#include <base/log.hpp>
#include <transport/fabric/fabric_setup.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <rdma/fi_errno.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::transport::fabric {
namespace {

constexpr std::size_t kEventBytes = sizeof(fi_eq_cm_entry) + 256;

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span<T, 1>(&value, 1));
}

/// The address of this node on an IP network, as text; the host's name elsewhere.
std::string reachable_host(const fi_info& info) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (info.src_addr != nullptr && info.addr_format == FI_SOCKADDR_IN) {
    const auto* name = static_cast<const sockaddr_in*>(info.src_addr);
    ::inet_ntop(AF_INET, &name->sin_addr, text.data(), text.size());
  } else if (info.src_addr != nullptr && info.addr_format == FI_SOCKADDR_IN6) {
    const auto* name = static_cast<const sockaddr_in6*>(info.src_addr);
    ::inet_ntop(AF_INET6, &name->sin6_addr, text.data(), text.size());
  }
  if (text.front() != '\0') return text.data();
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return host.data();
}

std::string with_port(const std::string& host, int port) {
  const bool has_colons = host.find(':') != std::string::npos;
  return (has_colons ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

void refuse(int link, Status status, const std::string& text) {
  Welcome welcome{};
  welcome.magic = kMagic;
  welcome.status = static_cast<std::uint8_t>(status);
  std::strncpy(welcome.text.data(), text.c_str(), welcome.text.size() - 1);
  // The client may be gone already; then nobody needs the reason.
  (void)::send(link, &welcome, sizeof(welcome), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/// False when the peer has gone. What is sent here always fits an idle connection's buffer.
template <class T>
bool send_now(int link, const T& message) {
  return ::send(link, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(message);
}

bool same_nonce(const Nonce& nonce, std::span<const std::byte> claimed) {
  if (claimed.size() < nonce.size()) return false;  // providers may round the size up
  static_assert(sizeof(Nonce) == sizeof(Token));
  Token other;
  std::memcpy(other.data(), claimed.data(), other.size());
  return same_token(nonce, other);
}

}  // namespace

Listener::Listener(const ListenOptions& options, std::shared_ptr<const Provider> provider)
    : options_(options), provider_(std::move(provider)) {}

Result<std::unique_ptr<Listener>> Listener::open(const ListenOptions& options,
                                                 const std::string& host) {
  auto socket = listen_link(host);
  if (!socket) return tl::unexpected<Error>(socket.error());
  auto provider = find_provider({}, std::nullopt, host);
  if (!provider) return tl::unexpected<Error>(provider.error());
  std::unique_ptr<Listener> listener(new Listener(options, std::move(*provider)));
  listener->socket_ = std::move(*socket);
  const auto port = port_of(listener->socket_);
  if (!port) return tl::unexpected<Error>(port.error());
  listener->address_ =
      with_port(host.empty() ? reachable_host(*listener->provider_->info) : host, *port);
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
  if (candidates_.size() < kMaxPending && std::chrono::steady_clock::now() >= accept_after_) {
    fds.push_back({socket_.get(), POLLIN, 0});
  }
  if (events_) add_events(&events_->fid, event_fd_);
  for (const Candidate& candidate : candidates_) {
    fds.push_back({candidate.link->get(), POLLIN, 0});
    if (candidate.side.has_endpoint() && candidate.side.endpoint->event_fd() >= 0) {
      fds.push_back({candidate.side.endpoint->event_fd(), POLLIN, 0});
    }
  }
  for (const auto& [worker, link] : channels_) fds.push_back({link->get(), POLLIN, 0});
}

int Listener::poll_timeout_ms() const {
  if (look_again_) return 0;
  TimePoint first = accept_after_ == TimePoint{} ? TimePoint::max() : accept_after_;
  for (const Candidate& candidate : candidates_) first = std::min(first, candidate.deadline);
  return first == TimePoint::max() ? -1 : static_cast<int>(left_until(first).count());
}

void Listener::watch_channels(const Ended& ended) {
  std::erase_if(channels_, [&](const auto& entry) {
    // An honest client never sends on its link again, so readable means the end in any case.
    pollfd poll_entry{entry.second->get(), POLLIN, 0};
    if (::poll(&poll_entry, 1, 0) == 0) return false;
    ended(entry.first);
    return true;
  });
}

void Listener::accept_links() {
  accept_after_ = {};
  while (candidates_.size() < kMaxPending) {
    base::Fd link(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!link.valid()) {
      const bool none = errno == EAGAIN || errno == EWOULDBLOCK;
      if (errno == ECONNABORTED || errno == EINTR) continue;
      // Out of descriptors or memory: the connection waits, and its socket stays ready meanwhile.
      if (!none) accept_after_ = std::chrono::steady_clock::now() + kAcceptPause;
      return;
    }
    tune_link(link.get());
    Candidate& candidate = candidates_.emplace_back();
    candidate.link = std::make_shared<base::Fd>(std::move(link));
    candidate.deadline = std::chrono::steady_clock::now() + kHelloTimeout;
  }
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
    const bool waits = candidate.greeted && !candidate.connected && candidate.side.has_endpoint();
    if (!waits || !same_nonce(candidate.nonce, nonce)) continue;
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
  return std::any_of(candidates_.begin(), candidates_.end(), [&](const Candidate& candidate) {
    return candidate.greeted && candidate.hello.worker == worker;
  });
}

void Listener::service(const MayTake& may_take, const Accepted& accepted, const Ended& ended) {
  watch_channels(ended);
  accept_links();
  accept_endpoints();
  for (auto at = candidates_.begin(); at != candidates_.end();) {
    Outcome outcome = advance(*at, may_take);
    if (outcome == Outcome::kWaiting && std::chrono::steady_clock::now() >= at->deadline) {
      if (!at->greeted) refuse(at->link->get(), Status::kDenied, "no greeting came in time");
      outcome = Outcome::kOver;
    }
    if (outcome == Outcome::kChannel) {
      const std::uint32_t worker = at->hello.worker;
      // Its last channel has ended from this side; the client's end was not seen yet.
      if (channels_.erase(worker) != 0) ended(worker);
      channels_.emplace(worker, at->link);
      accepted(worker, std::make_unique<ServerChannel>(std::move(at->side), std::move(at->mirror)));
    }
    at = outcome == Outcome::kWaiting ? std::next(at) : candidates_.erase(at);
  }
}

Listener::Outcome Listener::advance(Candidate& candidate, const MayTake& may_take) {
  if (!candidate.greeted) return greet(candidate, may_take);
  if (!candidate.connected && candidate.side.endpoint->ready()) {
    const auto connected = candidate.side.endpoint->connected(std::chrono::milliseconds(0));
    if (!connected) return Outcome::kOver;
    candidate.connected = *connected;
  }
  return take_keys(candidate);
}

Listener::Outcome Listener::greet(Candidate& candidate, const MayTake& may_take) {
  Hello& hello = candidate.hello;
  const int link = candidate.link->get();
  const Received got = receive_some(link, bytes_of(hello).subspan(candidate.received));
  candidate.received += got.size;
  if (got.ended) return Outcome::kOver;
  if (candidate.received < sizeof(hello)) return Outcome::kWaiting;
  if (hello.magic != kMagic) {
    refuse(link, Status::kInvalid, "the greeting is malformed");
    return Outcome::kOver;
  }
  const Wish wish{hello.version, hello.token, hello.worker, hello.slots, hello.arena_size};
  const auto free = [&](std::uint32_t worker) { return !is_taken(worker) && may_take(worker); };
  if (const auto refusal = why_refused(wish, kVersion, options_, free)) {
    refuse(link, refusal->status, refusal->text);
    return Outcome::kOver;
  }
  const auto answer = welcome(candidate);
  if (!answer) {
    base::log().warn("fabric: a client was refused: {}", answer.error().what());
    refuse(link, Status::kInvalid, answer.error().what());
    return Outcome::kOver;
  }
  candidate.greeted = true;
  candidate.received = 0;
  candidate.deadline = std::chrono::steady_clock::now() + kHelloTimeout;
  return send_now(link, *answer) ? Outcome::kWaiting : Outcome::kOver;
}

Result<Welcome> Listener::welcome(Candidate& candidate) {
  if (candidate.hello.arena_size == 0) return fail(ErrorKind::kInvalid, "the arena is empty");
  auto mirror = base::SharedMemory::create("sublet-mirror", candidate.hello.arena_size,
                                           base::SharedMemory::Pages::kHuge);
  if (!mirror) return tl::unexpected<Error>(mirror.error());
  candidate.mirror = std::move(*mirror);
  auto endpoint = Endpoint::open(provider_, candidate.hello.slots);
  if (!endpoint) return tl::unexpected<Error>(endpoint.error());
  candidate.side.slots = candidate.hello.slots;
  candidate.side.link = candidate.link;
  candidate.side.endpoint = std::move(*endpoint);

  Welcome welcome{};
  welcome.magic = kMagic;
  welcome.status = static_cast<std::uint8_t>(Status::kOk);
  welcome.kind = static_cast<std::uint8_t>(provider_->kind);
  std::strncpy(welcome.provider.data(), provider_->name.c_str(), welcome.provider.size() - 1);
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
  Keys& keys = candidate.keys;
  if (candidate.received < sizeof(keys)) {
    const Received got =
        receive_some(candidate.link->get(), bytes_of(keys).subspan(candidate.received));
    candidate.received += got.size;
    if (got.ended) return Outcome::kOver;
  }
  if (!candidate.connected || candidate.received < sizeof(keys)) return Outcome::kWaiting;
  Side& side = candidate.side;
  if (keys.magic != kMagic || keys.address_size > keys.address.size() ||
      keys.ring.size < side.slots * sizeof(ReplySlot)) {
    return Outcome::kOver;
  }
  side.peer = keys;
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
  if (!own || !send_now(candidate.link->get(), *own)) return Outcome::kOver;
  return Outcome::kChannel;
}

}  // namespace sublet::transport::fabric
