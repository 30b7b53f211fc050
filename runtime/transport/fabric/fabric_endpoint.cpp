#include <base/log.hpp>
#include <transport/fabric/fabric_endpoint.hpp>

#include <rdma/fi_errno.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace sublet::transport::fabric {
namespace {

tl::unexpected<Error> failed(const Provider& provider, const char* attempt, long code) {
  return fail(ErrorKind::kUnsupported,
              "libfabric provider '" + provider.name + "': " + attempt + ": " + fabric_error(code));
}

constexpr std::size_t kEventBytes = sizeof(fi_eq_cm_entry) + 256;

}  // namespace

Endpoint::Endpoint(std::shared_ptr<const Provider> provider, std::uint32_t slots)
    : Transfers(*provider), provider_(std::move(provider)), slots_(slots) {}

Result<std::unique_ptr<Endpoint>> Endpoint::open(std::shared_ptr<const Provider> provider,
                                                 std::uint32_t slots) {
  std::unique_ptr<Endpoint> endpoint(new Endpoint(std::move(provider), slots));
  if (auto opened = endpoint->open_queues(); !opened) {
    return tl::unexpected<Error>(opened.error());
  }
  return endpoint;
}

Result<void> Endpoint::open_queues() {
  const Provider& provider = *provider_;
  fid_domain* domain = nullptr;
  if (const int error = fi_domain(provider.fabric.get(), provider.info.get(), &domain, nullptr)) {
    return failed(provider, "opening a domain", error);
  }
  domain_.reset(domain);

  fi_cq_attr attributes{};
  attributes.size = 2 * std::size_t{slots_} + kEntries;
  attributes.format = FI_CQ_FORMAT_DATA;
  attributes.wait_obj = FI_WAIT_FD;
  fid_cq* completions = nullptr;
  int error = fi_cq_open(domain, &attributes, &completions, nullptr);
  if (error == 0) {
    fi_control(&completions->fid, FI_GETWAIT, &wait_fd_);
  } else {
    // It cannot put a thread to sleep; then sleepers look around by themselves now and then.
    attributes.wait_obj = FI_WAIT_NONE;
    error = fi_cq_open(domain, &attributes, &completions, nullptr);
  }
  if (error != 0) return failed(provider, "opening a completion queue", error);
  completions_.reset(completions);
  queue_ = completions;

  if (provider.kind == EndpointKind::kConnected) {
    fi_eq_attr event_attributes{};
    event_attributes.wait_obj = FI_WAIT_FD;
    fid_eq* events = nullptr;
    if ((error = fi_eq_open(provider.fabric.get(), &event_attributes, &events, nullptr)) != 0) {
      return failed(provider, "opening an event queue", error);
    }
    events_.reset(events);
    fi_control(&events->fid, FI_GETWAIT, &event_fd_);
    return {};
  }
  fi_av_attr address_attributes{};
  fid_av* addresses = nullptr;
  if ((error = fi_av_open(domain, &address_attributes, &addresses, nullptr)) != 0) {
    return failed(provider, "opening an address vector", error);
  }
  addresses_.reset(addresses);
  return {};
}

Result<void> Endpoint::create(fi_info* request) {
  const Provider& provider = *provider_;
  Info own;
  if (request == nullptr) {
    own = copy_of(*provider.info);
    request = own.get();
    const auto format = request->addr_format;
    if (format == FI_SOCKADDR_IN || format == FI_SOCKADDR_IN6 || format == FI_SOCKADDR) {
      if (provider.kind == EndpointKind::kConnected) {
        // The system knows best which of its addresses reaches the peer.
        std::free(request->src_addr);
        request->src_addr = nullptr;
        request->src_addrlen = 0;
      }
    }
  }
  fid_ep* endpoint = nullptr;
  if (const int error = fi_endpoint(domain_.get(), request, &endpoint, nullptr)) {
    return failed(provider, "making an endpoint", error);
  }
  endpoint_.reset(endpoint);
  handle_ = endpoint;
  fid* const other = events_ ? &events_->fid : &addresses_->fid;
  if (const int error = fi_ep_bind(endpoint, other, 0)) {
    return failed(provider, "binding an endpoint", error);
  }
  if (const int error = fi_ep_bind(endpoint, &completions_->fid,
                                   FI_TRANSMIT | FI_RECV | FI_SELECTIVE_COMPLETION)) {
    return failed(provider, "binding an endpoint to its completions", error);
  }
  if (const int error = fi_enable(endpoint)) {
    return failed(provider, "enabling an endpoint", error);
  }
  if (receives_data_) {
    receives_.resize(slots_);
    for (Operation& receive : receives_) {
      if (const int error = receive_data(&receive))
        return failed(provider, "posting a receive", error);
    }
  }
  return {};
}

Result<void> Endpoint::connect_to(std::span<const std::byte> address, const Nonce& nonce) {
  if (const int error = fi_connect(endpoint_.get(), address.data(), nonce.data(), nonce.size())) {
    return fail(ErrorKind::kDisconnected, "connecting an endpoint of the libfabric provider '" +
                                              provider_->name + "': " + fabric_error(error));
  }
  return {};
}

Result<void> Endpoint::accept() {
  if (const int error = fi_accept(endpoint_.get(), nullptr, 0)) {
    return failed(*provider_, "accepting a connection", error);
  }
  return {};
}

Result<bool> Endpoint::connected(std::chrono::milliseconds limit) {
  if (!events_) return true;
  alignas(fi_eq_cm_entry) std::array<std::byte, kEventBytes> buffer;
  std::uint32_t event = 0;
  const ssize_t got = limit.count() <= 0
                          ? fi_eq_read(events_.get(), &event, buffer.data(), buffer.size(), 0)
                          : fi_eq_sread(events_.get(), &event, buffer.data(), buffer.size(),
                                        static_cast<int>(limit.count()), 0);
  if (got == -FI_EAGAIN || got == -FI_ETIMEDOUT || got == -FI_EINTR) return false;
  if (got == -FI_EAVAIL) {
    fi_eq_err_entry error{};
    fi_eq_readerr(events_.get(), &error, 0);
    return fail(ErrorKind::kDisconnected, "the connection of the libfabric provider '" +
                                              provider_->name +
                                              "' was not made: " + fabric_error(error.err));
  }
  if (got < 0) return failed(*provider_, "reading events", got);
  if (event == FI_CONNECTED) return true;
  if (event == FI_SHUTDOWN) {
    return fail(ErrorKind::kDisconnected, "the peer ended the connection while it was being made");
  }
  return false;
}

bool Endpoint::has_ended() noexcept {
  if (!events_ || ended_) return ended_;
  alignas(fi_eq_cm_entry) std::array<std::byte, kEventBytes> buffer;
  std::uint32_t event = 0;
  const ssize_t got = fi_eq_read(events_.get(), &event, buffer.data(), buffer.size(), 0);
  if (got == -FI_EAVAIL) {
    fi_eq_err_entry error{};
    fi_eq_readerr(events_.get(), &error, 0);
    base::log().debug("fabric: the connection broke: {}", fabric_error(error.err));
  }
  ended_ = got == -FI_EAVAIL || (got > 0 && event == FI_SHUTDOWN);
  return ended_;
}

Result<std::vector<std::byte>> Endpoint::address() const {
  std::vector<std::byte> name(kMaxAddress);
  std::size_t size = name.size();
  if (const int error = fi_getname(&endpoint_->fid, name.data(), &size)) {
    return failed(*provider_, "asking for an endpoint's address", error);
  }
  name.resize(size);
  return name;
}

Result<void> Endpoint::set_peer(std::span<const std::byte> address) {
  // A provider reads an address of its own length.
  const auto own = this->address();
  if (!own) return tl::unexpected<Error>(own.error());
  if (own->size() != address.size()) {
    return fail(ErrorKind::kInvalid, "the peer's address has " + std::to_string(address.size()) +
                                         " bytes, those of '" + provider_->name + "' have " +
                                         std::to_string(own->size()));
  }
  const int inserted = fi_av_insert(addresses_.get(), address.data(), 1, &peer_, 0, nullptr);
  if (inserted != 1) return failed(*provider_, "inserting the peer's address", inserted);
  return {};
}

}  // namespace sublet::transport::fabric
