// The bare libfabric exchange: fi_writedata between connected endpoints of the provider that the
// fabric transport would use, and bare streaming writes. Nothing else is of Sublet's transport.

#include <transport/fabric/fabric_provider.hpp>

#include <bench/raw_completions.hpp>
#include <bench/raw_transport.hpp>
#include <poll.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

namespace sublet::bench {
namespace {

using transport::fabric::EndpointKind;
using transport::fabric::fabric_error;
using transport::fabric::Fid;
using transport::fabric::Provider;

constexpr std::size_t kPage = 4096;
constexpr int kSetUpLimitMs = 5000;

tl::unexpected<Error> failed(const char* attempt, long code) {
  return fail(ErrorKind::kUnsupported,
              std::string("the bare libfabric exchange: ") + attempt + ": " + fabric_error(code));
}

/// What the other end needs to write to this one.
struct Place {
  std::uint64_t address = 0;
  std::uint64_t key = 0;
};

/// What the two ends tell each other.
struct Greeting {
  Place place;
  std::array<std::byte, 128> address{};  ///< Of the server's endpoint.
  std::size_t address_size = 0;
};

Result<Fid<fid_eq>> open_events(fid_fabric* fabric) {
  fi_eq_attr attributes{};
  attributes.wait_obj = FI_WAIT_UNSPEC;
  fid_eq* events = nullptr;
  if (const int error = fi_eq_open(fabric, &attributes, &events, nullptr)) {
    return failed("opening an event queue", error);
  }
  return Fid<fid_eq>(events);
}

/// The request of a connection, nothing for any other event.
struct Event {
  alignas(fi_eq_cm_entry) std::array<std::byte, 512> buffer{};
  [[nodiscard]] fi_eq_cm_entry& entry() noexcept {
    return *reinterpret_cast<fi_eq_cm_entry*>(buffer.data());
  }
};

Result<Event> await_event(fid_eq* events, std::uint32_t wanted, const char* attempt) {
  Event event;
  std::uint32_t got = 0;
  const ssize_t size =
      fi_eq_sread(events, &got, event.buffer.data(), event.buffer.size(), kSetUpLimitMs, 0);
  if (size < 0 || got != wanted) return failed(attempt, size);
  return event;
}

/// One end: an endpoint, a completion queue that can be slept on, and registered memory, of which
/// the first half is sent from and the second is written to by the peer.
class FabricEnd {
 public:
  static constexpr std::uint32_t kLooksPerCheck = 1u << 14;

  Result<void> prepare(const Provider& provider, std::size_t max_size);
  Result<void> make_endpoint(fi_info* info);
  Result<void> await_connected() {
    auto event = await_event(events_.get(), FI_CONNECTED, "connecting");
    if (!event) return tl::unexpected<Error>(std::move(event.error()));
    return {};
  }
  void set_peer(const Place& peer) noexcept { peer_ = peer; }

  [[nodiscard]] fid_ep* endpoint() const noexcept { return endpoint_.get(); }
  /// Where the peer writes to.
  [[nodiscard]] Place place() const noexcept { return place_; }
  [[nodiscard]] std::byte* out() noexcept { return area_.data(); }
  [[nodiscard]] const std::byte* in() const noexcept { return area_.data() + side_; }

  [[nodiscard]] bool send(std::size_t size, std::uint32_t word) noexcept {
    for (;;) {
      const ssize_t result = size <= inject_size_
                                 ? fi_inject_writedata(endpoint_.get(), out(), size, word,
                                                       FI_ADDR_UNSPEC, peer_.address, peer_.key)
                                 : fi_writedata(endpoint_.get(), out(), size, descriptor_, word,
                                                FI_ADDR_UNSPEC, peer_.address, peer_.key, nullptr);
      if (result == 0) return true;
      if (result != -FI_EAGAIN || look() < 0) return false;
    }
  }

  [[nodiscard]] int receive(std::uint32_t& word) noexcept {
    if (!came_ && look() < 0) return -1;
    if (!came_) return 0;
    word = *came_;
    came_.reset();
    return 1;
  }

  [[nodiscard]] int receive_asleep(std::uint32_t& word) noexcept {
    const int got = receive(word);
    if (got != 0) return got;
    fid* fids[] = {&completions_->fid};
    if (fi_trywait(fabric_, fids, 1) == 0) {
      pollfd entry{wait_fd_, POLLIN, 0};
      ::poll(&entry, 1, -1);
    }
    return receive(word);
  }

  [[nodiscard]] int start_write(std::size_t size, std::size_t offset) noexcept {
    const iovec local{out() + offset, size};
    const fi_rma_iov remote{peer_.address + offset, size, peer_.key};
    fi_msg_rma write{};
    write.msg_iov = &local;
    write.desc = &descriptor_;
    write.iov_count = 1;
    write.addr = FI_ADDR_UNSPEC;
    write.rma_iov = &remote;
    write.rma_iov_count = 1;
    const ssize_t result = fi_writemsg(endpoint_.get(), &write, FI_COMPLETION);
    return result == 0 ? 1 : result == -FI_EAGAIN ? 0 : -1;
  }
  [[nodiscard]] std::uint64_t writes_done() const noexcept { return writes_done_; }

 private:
  /// One look at the completions; -1 when the connection is broken.
  [[nodiscard]] int look() noexcept {
    fi_cq_data_entry entries[8];
    const ssize_t count = fi_cq_read(completions_.get(), entries, 8);
    if (count < 0) return count == -FI_EAGAIN ? 0 : -1;
    for (ssize_t i = 0; i < count; ++i) {
      if ((entries[i].flags & FI_REMOTE_CQ_DATA) != 0) {
        came_ = static_cast<std::uint32_t>(entries[i].data);
      } else {
        ++writes_done_;
      }
    }
    return 0;
  }

  base::SharedMemory area_;
  std::size_t side_ = 0;
  fid_fabric* fabric_ = nullptr;
  Fid<fid_domain> domain_;
  Fid<fid_cq> completions_;
  Fid<fid_eq> events_;
  Fid<fid_mr> registered_;
  Fid<fid_ep> endpoint_;
  Place place_;
  Place peer_;
  void* descriptor_ = nullptr;
  std::size_t inject_size_ = 0;
  std::uint64_t writes_done_ = 0;
  std::optional<std::uint32_t> came_;  ///< The last message's word, until it is asked for.
  int wait_fd_ = -1;
};

Result<void> FabricEnd::prepare(const Provider& provider, std::size_t max_size) {
  side_ = (max_size + kPage - 1) / kPage * kPage;
  auto area = base::SharedMemory::create("sublet-bench-fabric", 2 * side_,
                                         base::SharedMemory::Pages::kHuge);
  if (!area) return tl::unexpected<Error>(std::move(area.error()));
  area_ = std::move(*area);
  fi_info& info = *provider.info;
  fabric_ = provider.fabric.get();
  inject_size_ = info.tx_attr->inject_size;
  fid_domain* domain = nullptr;
  if (const int error = fi_domain(fabric_, &info, &domain, nullptr)) {
    return failed("opening a domain", error);
  }
  domain_.reset(domain);
  fi_cq_attr attributes{};
  attributes.size = 256;
  attributes.format = FI_CQ_FORMAT_DATA;
  attributes.wait_obj = FI_WAIT_FD;
  fid_cq* completions = nullptr;
  if (const int error = fi_cq_open(domain, &attributes, &completions, nullptr)) {
    return failed("opening a completion queue", error);
  }
  completions_.reset(completions);
  fi_control(&completions->fid, FI_GETWAIT, &wait_fd_);
  auto events = open_events(fabric_);
  if (!events) return tl::unexpected<Error>(std::move(events.error()));
  events_ = std::move(*events);
  fid_mr* registered = nullptr;
  if (const int error = fi_mr_reg(domain, area_.data(), area_.size(), FI_WRITE | FI_REMOTE_WRITE, 0,
                                  1, 0, &registered, nullptr)) {
    return failed("registering memory", error);
  }
  registered_.reset(registered);
  descriptor_ = fi_mr_desc(registered);
  const bool virtual_addresses = (info.domain_attr->mr_mode & FI_MR_VIRT_ADDR) != 0;
  place_ = {(virtual_addresses ? reinterpret_cast<std::uintptr_t>(area_.data()) : 0) + side_,
            fi_mr_key(registered)};
  return {};
}

Result<void> FabricEnd::make_endpoint(fi_info* info) {
  fid_ep* endpoint = nullptr;
  int error = fi_endpoint(domain_.get(), info, &endpoint, nullptr);
  if (error != 0) return failed("making an endpoint", error);
  endpoint_.reset(endpoint);
  error = fi_ep_bind(endpoint, &events_->fid, 0);
  if (error == 0) {
    error =
        fi_ep_bind(endpoint, &completions_->fid, FI_TRANSMIT | FI_RECV | FI_SELECTIVE_COMPLETION);
  }
  if (error == 0) error = fi_enable(endpoint);
  if (error != 0) return failed("enabling an endpoint", error);
  return {};
}

class RawFabric final : public RawCompletions<RawFabric, FabricEnd> {
 private:
  Result<void> prepare() override {
    auto found = transport::fabric::find_provider({}, EndpointKind::kConnected, "127.0.0.1");
    if (!found) return tl::unexpected<Error>(std::move(found.error()));
    provider_ = std::move(*found);
    return {};
  }

  /// Listens, tells where, takes one connection.
  Result<void> open_server(base::HelperLink& other) override {
    auto events = open_events(provider_->fabric.get());
    if (!events) return tl::unexpected<Error>(std::move(events.error()));
    fid_pep* made = nullptr;
    int error = fi_passive_ep(provider_->fabric.get(), provider_->info.get(), &made, nullptr);
    const Fid<fid_pep> passive(made);
    if (error == 0) error = fi_pep_bind(made, &(*events)->fid, 0);
    if (error == 0) error = fi_listen(made);
    if (error != 0) return failed("listening", error);
    if (auto done = this_end().prepare(*provider_, max_size()); !done) return done;
    Greeting mine{this_end().place()};
    mine.address_size = mine.address.size();
    error = fi_getname(&made->fid, mine.address.data(), &mine.address_size);
    if (error != 0) return failed("asking for its address", error);
    if (auto told = other.tell(mine); !told) return told;
    auto request = await_event(events->get(), FI_CONNREQ, "waiting for a connection");
    if (!request) return tl::unexpected<Error>(std::move(request.error()));
    if (auto done = this_end().make_endpoint(request->entry().info); !done) return done;
    error = fi_accept(this_end().endpoint(), nullptr, 0);
    if (error != 0) return failed("accepting", error);
    if (auto done = this_end().await_connected(); !done) return done;
    auto theirs = other.hear<Greeting>(kOpenLimit);
    if (!theirs) return tl::unexpected<Error>(std::move(theirs.error()));
    this_end().set_peer(theirs->place);
    return {};
  }

  Result<void> open_client(base::HelperLink& other) override {
    auto theirs = other.hear<Greeting>(kOpenLimit);
    if (!theirs) return tl::unexpected<Error>(std::move(theirs.error()));
    if (auto done = this_end().prepare(*provider_, max_size()); !done) return done;
    this_end().set_peer(theirs->place);
    const transport::fabric::Info info = transport::fabric::copy_of(*provider_->info);
    std::free(info->src_addr);  // the system chooses one
    info->src_addr = nullptr;
    info->src_addrlen = 0;
    if (auto done = this_end().make_endpoint(info.get()); !done) return done;
    const int error = fi_connect(this_end().endpoint(), theirs->address.data(), nullptr, 0);
    if (error != 0) return failed("connecting", error);
    if (auto done = this_end().await_connected(); !done) return done;
    return other.tell(Greeting{this_end().place()});
  }

  std::shared_ptr<const Provider> provider_;
};

}  // namespace

extern const RawTransport raw_fabric{
    .transport = "fabric",
    .hot = "a bare fi_writedata ping-pong over the same provider, both spinning",
    .warm = "as hot, the server sleeping on its completion queue",
    .stream = "bare fi_writes, the same window, over the same provider, one answer",
    .stream_copies = false,
    .start = &RawFabric::start,
};

}  // namespace sublet::bench
