#include <base/log.hpp>
#include <transport/fabric/fabric_endpoint.hpp>

#include <rdma/fi_errno.h>
#include <sys/random.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sublet::transport::fabric {
namespace {

static_assert(offsetof(Operation, context) == 0);

tl::unexpected<Error> failed(const Provider& provider, const char* attempt, long code) {
  return fail(ErrorKind::kUnsupported,
              "libfabric provider '" + provider.name + "': " + attempt + ": " + fabric_error(code));
}

constexpr std::size_t kEventBytes = sizeof(fi_eq_cm_entry) + 256;

}  // namespace

Endpoint::Endpoint(std::shared_ptr<const Provider> provider) : provider_(std::move(provider)) {
  const fi_info& info = *provider_->info;
  inject_size_ = info.tx_attr->inject_size;
  joined_ = info.tx_attr->rma_iov_limit >= 2 && info.tx_attr->iov_limit >= 2;
  fences_ = (info.caps & FI_FENCE) != 0;
  const bool in_order = (info.tx_attr->msg_order & (FI_ORDER_WAW | FI_ORDER_RMA_WAW)) != 0;
  ordered_size_ = in_order ? info.ep_attr->max_order_waw_size : 0;
  receives_data_ = ((info.mode | info.rx_attr->mode) & FI_RX_CQ_DATA) != 0;
}

Result<std::unique_ptr<Endpoint>> Endpoint::open(std::shared_ptr<const Provider> provider,
                                                 std::uint32_t slots) {
  std::unique_ptr<Endpoint> endpoint(new Endpoint(std::move(provider)));
  if (auto opened = endpoint->open_queues(slots); !opened) {
    return tl::unexpected<Error>(opened.error());
  }
  return endpoint;
}

Result<void> Endpoint::open_queues(std::uint32_t slots) {
  slots_ = slots;
  const Provider& provider = *provider_;
  fid_domain* domain = nullptr;
  if (const int error = fi_domain(provider.fabric.get(), provider.info.get(), &domain, nullptr)) {
    return failed(provider, "opening a domain", error);
  }
  domain_.reset(domain);

  fi_cq_attr attributes{};
  attributes.size = 2 * std::size_t{slots} + kEntries;
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

int Endpoint::receive_data(void* operation) noexcept {
  return static_cast<int>(fi_recv(endpoint_.get(), nullptr, 0, nullptr, FI_ADDR_UNSPEC, operation));
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

Result<Registration> Endpoint::register_memory(void* memory, std::size_t size,
                                               std::uint64_t remote_access) {
  const fi_domain_attr& domain = *provider_->info->domain_attr;
  // Hard to guess: where it is the key alone that protects memory from others on the network.
  std::uint64_t key = 0;
  if ((domain.mr_mode & FI_MR_PROV_KEY) == 0) {
    if (::getrandom(&key, sizeof(key), 0) != sizeof(key)) {
      return fail(ErrorKind::kInternal, "no random bytes", errno);
    }
    if (domain.mr_key_size < sizeof(key)) key &= (std::uint64_t{1} << (8 * domain.mr_key_size)) - 1;
  }
  fid_mr* mr = nullptr;
  const std::uint64_t access = FI_READ | FI_WRITE | remote_access;
  if (const int error = fi_mr_reg(domain_.get(), memory, size, access, 0, key, 0, &mr, nullptr)) {
    const bool limit = error == -FI_ENOMEM || error == -FI_EPERM || error == -FI_EAGAIN;
    return fail(ErrorKind::kOverloaded,
                "libfabric provider '" + provider_->name + "': registering " +
                    std::to_string(size) + " bytes: " + fabric_error(error) +
                    (limit ? "; raise the limit of locked memory (ulimit -l) or set "
                             "SUBLET_FABRIC_REGISTER to fewer bytes"
                           : ""));
  }
  Registration registration{Fid<fid_mr>(mr), nullptr, {}};
  if ((domain.mr_mode & FI_MR_ENDPOINT) != 0) {
    int error = fi_mr_bind(mr, &endpoint_->fid, 0);
    if (error == 0) error = fi_mr_enable(mr);
    if (error != 0) return failed(*provider_, "binding registered memory", error);
  }
  registration.descriptor = fi_mr_desc(mr);
  registration.remote.address =
      (domain.mr_mode & FI_MR_VIRT_ADDR) != 0 ? reinterpret_cast<std::uintptr_t>(memory) : 0;
  registration.remote.key = fi_mr_key(mr);
  registration.remote.size = size;
  return registration;
}

bool Endpoint::may_wait() const noexcept {
  if (wait_fd_ < 0) return true;
  fid* fids[] = {&completions_->fid};
  return fi_trywait(provider_->fabric.get(), fids, 1) == 0;
}

void Endpoint::break_off(const char* attempt, int error) noexcept {
  if (!broken_) {
    base::log().debug("fabric: {}{}; the channel ends", attempt,
                      error == 0 ? std::string() : ": " + fabric_error(error));
  }
  broken_ = true;
}

void Endpoint::read_error() noexcept {
  fi_cq_err_entry error{};
  const ssize_t got = fi_cq_readerr(completions_.get(), &error, 0);
  if (got == -FI_EAGAIN) return;
  if (!broken_) {
    base::log().debug("fabric: an operation failed ({}); the channel ends",
                      got > 0 ? fabric_error(error.err) : fabric_error(got));
  }
  broken_ = true;
}

int Endpoint::post_head(const Message& message, bool tell, std::uint64_t flags) noexcept {
  const iovec local{const_cast<void*>(message.head), message.head_size};
  void* descriptor = message.head_descriptor;
  const fi_rma_iov remote{message.head_address, message.head_size, message.head_key};
  fi_msg_rma write{};
  write.msg_iov = &local;
  write.desc = &descriptor;
  write.iov_count = 1;
  write.addr = peer_;
  write.rma_iov = &remote;
  write.rma_iov_count = 1;
  write.context = &message.operations->head;
  write.data = message.number;
  const ssize_t result =
      fi_writemsg(endpoint_.get(), &write, FI_REMOTE_CQ_DATA | flags | (tell ? FI_COMPLETION : 0));
  if (result == 0) message.operations->head.under_way = tell;
  return static_cast<int>(result);
}

int Endpoint::write_payload(const Message& message, std::uint64_t flags) noexcept {
  const iovec local{const_cast<void*>(message.payload), message.payload_size};
  void* descriptor = message.payload_descriptor;
  const fi_rma_iov remote{message.payload_address, message.payload_size, message.payload_key};
  fi_msg_rma write{};
  write.msg_iov = &local;
  write.desc = &descriptor;
  write.iov_count = 1;
  write.addr = peer_;
  write.rma_iov = &remote;
  write.rma_iov_count = 1;
  write.context = &message.operations->payload;
  return static_cast<int>(fi_writemsg(endpoint_.get(), &write, flags));
}

int Endpoint::post_with_payload(const Message& message, bool tell) noexcept {
  if (!joined_) {
    if (must_place_first(message.payload_size)) return post_head(message, tell, 0);
    // When there is no room for the head the payload is written once more: it does no harm.
    if (const int error = write_payload(message, 0)) return error;
    return post_head(message, tell, ordered(message.payload_size) ? 0 : FI_FENCE);
  }
  const std::array<iovec, 2> local{iovec{const_cast<void*>(message.payload), message.payload_size},
                                   iovec{const_cast<void*>(message.head), message.head_size}};
  std::array<void*, 2> descriptors{message.payload_descriptor, message.head_descriptor};
  const std::array<fi_rma_iov, 2> remote{
      fi_rma_iov{message.payload_address, message.payload_size, message.payload_key},
      fi_rma_iov{message.head_address, message.head_size, message.head_key}};
  fi_msg_rma write{};
  write.msg_iov = local.data();
  write.desc = descriptors.data();
  write.iov_count = local.size();
  write.addr = peer_;
  write.rma_iov = remote.data();
  write.rma_iov_count = remote.size();
  write.context = &message.operations->head;
  write.data = message.number;
  const ssize_t result =
      fi_writemsg(endpoint_.get(), &write, FI_REMOTE_CQ_DATA | (tell ? FI_COMPLETION : 0));
  if (result == 0) message.operations->head.under_way = tell;
  return static_cast<int>(result);
}

int Endpoint::place(const Message& message) noexcept {
  const int result = write_payload(message, FI_COMPLETION | FI_DELIVERY_COMPLETE);
  if (result == 0) message.operations->payload.under_way = true;
  return result;
}

int Endpoint::read(void* to, std::size_t size, void* descriptor, std::uint64_t address,
                   std::uint64_t key, Operation& operation) noexcept {
  const iovec local{to, size};
  const fi_rma_iov remote{address, size, key};
  fi_msg_rma request{};
  request.msg_iov = &local;
  request.desc = &descriptor;
  request.iov_count = 1;
  request.addr = peer_;
  request.rma_iov = &remote;
  request.rma_iov_count = 1;
  request.context = &operation.context;
  const ssize_t result = fi_readmsg(endpoint_.get(), &request, FI_COMPLETION);
  if (result == 0) operation.under_way = true;
  return static_cast<int>(result);
}

}  // namespace sublet::transport::fabric
