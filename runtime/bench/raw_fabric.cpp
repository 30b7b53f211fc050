#include "raw_fabric.hpp"

#include "cpus.hpp"
#include <base/fd.hpp>
#include <base/unix_socket.hpp>
#include <transport/fabric/fabric_provider.hpp>

#include <linux/futex.h>
#include <poll.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>

namespace sublet::bench {
namespace {

using transport::fabric::EndpointKind;
using transport::fabric::fabric_error;
using transport::fabric::Provider;

constexpr std::size_t kPage = 4096;
/// More than any exchange's number: the server goes to sleep, or answers a stream's end.
constexpr std::uint64_t kStopData = 0xffff'ffff;
constexpr std::uint64_t kStreamEnd = 0xffff'fffe;
constexpr auto kSetUpLimit = 5s;

tl::unexpected<Error> failed(const char* attempt, long code) {
  return fail(ErrorKind::kUnsupported,
              std::string("the bare libfabric exchange: ") + attempt + ": " + fabric_error(code));
}

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT, seen, nullptr, nullptr,
            0);
}
void futex_wake(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

/// What the two ends tell each other over a socket pair before they can write.
struct Greeting {
  RawFabricEnd::Place place;
  std::array<std::byte, 128> address{};
  std::size_t address_size = 0;
};

std::span<const std::byte> bytes_of(const Greeting& greeting) {
  return std::as_bytes(std::span<const Greeting, 1>(&greeting, 1));
}

Result<Greeting> hear(int socket) {
  Greeting greeting;
  const auto packet = base::receive_packet(
      socket, std::as_writable_bytes(std::span<Greeting, 1>(&greeting, 1)), kSetUpLimit);
  if (!packet) return tl::unexpected<Error>(packet.error());
  if (packet->size != sizeof(greeting)) {
    return fail(ErrorKind::kInternal, "the bare libfabric exchange's server did not start");
  }
  return greeting;
}

// ---- the server's side ----

struct Server {
  RawControl* control;
  RawFabricEnd end;
  RawFabricEnd::Place peer;
  std::byte* sent;
  const std::byte* received;
  std::size_t max_size;

  [[noreturn]] void run() {
    std::uint32_t done = 0;
    for (;;) {
      std::uint32_t command = 0;
      while ((command = control->command.load(std::memory_order_acquire)) == done) {
        futex_wait(control->command, done);
      }
      done = command;
      const bool sleeps = control->kind == RawKind::kWarm;
      const std::size_t size = control->size;
      control->state.store(command, std::memory_order_release);
      serve(size, sleeps);
      control->state.store(kAsleep, std::memory_order_release);
    }
  }

  void serve(std::size_t size, bool sleeps) {
    std::uint64_t last = 0;
    for (;;) {
      std::uint64_t data = last;
      if (!end.look(data)) ::_exit(1);
      if (data == last) {
        if (sleeps) end.sleep();
        continue;
      }
      if (data == kStopData) return;
      if (data == kStreamEnd) {
        if (!end.write(sent, 0, peer, max_size, kStreamEnd)) ::_exit(1);
        continue;  // the next stream's end looks the same
      }
      last = data;
      std::memcpy(sent, received, size);
      if (!end.write(sent, size, peer, max_size, data)) ::_exit(1);
    }
  }
};

/// Listens, tells where, takes one connection.
Result<void> serve_connection(const Provider& provider, RawFabricEnd& end, int socket,
                              base::SharedMemory& area) {
  fi_eq_attr attributes{};
  attributes.wait_obj = FI_WAIT_UNSPEC;
  fid_eq* events = nullptr;
  if (const int error = fi_eq_open(provider.fabric.get(), &attributes, &events, nullptr)) {
    return failed("opening an event queue", error);
  }
  fid_pep* passive = nullptr;
  int error = fi_passive_ep(provider.fabric.get(), provider.info.get(), &passive, nullptr);
  if (error == 0) error = fi_pep_bind(passive, &events->fid, 0);
  if (error == 0) error = fi_listen(passive);
  if (error != 0) return failed("listening", error);
  if (auto done = end.prepare(*provider.info, provider.fabric.get(), area.data(), area.size());
      !done) {
    return done;
  }
  Greeting mine;
  mine.place = end.place();
  mine.address_size = mine.address.size();
  if ((error = fi_getname(&passive->fid, mine.address.data(), &mine.address_size)) != 0) {
    return failed("asking for its address", error);
  }
  if (auto sent = base::send_packet(socket, bytes_of(mine)); !sent) return sent;
  alignas(fi_eq_cm_entry) std::array<std::byte, 512> buffer;
  std::uint32_t event = 0;
  const ssize_t got = fi_eq_sread(events, &event, buffer.data(), buffer.size(), 5000, 0);
  if (got < 0 || event != FI_CONNREQ) return failed("waiting for a connection", got);
  auto* const request = reinterpret_cast<fi_eq_cm_entry*>(buffer.data());
  if (auto made = end.make_endpoint(request->info); !made) return made;
  if ((error = fi_accept(end.endpoint(), nullptr, 0)) != 0) return failed("accepting", error);
  return end.await_connected();
}

}  // namespace

// ---- one end ----

Result<void> RawFabricEnd::prepare(const fi_info& info, fid_fabric* fabric, void* memory,
                                   std::size_t size) {
  fabric_ = fabric;
  inject_size_ = info.tx_attr->inject_size;
  fid_domain* domain = nullptr;
  if (const int error = fi_domain(fabric, const_cast<fi_info*>(&info), &domain, nullptr)) {
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
  fi_eq_attr event_attributes{};
  event_attributes.wait_obj = FI_WAIT_UNSPEC;
  fid_eq* events = nullptr;
  if (const int error = fi_eq_open(fabric, &event_attributes, &events, nullptr)) {
    return failed("opening an event queue", error);
  }
  events_.reset(events);
  fid_mr* registered = nullptr;
  if (const int error = fi_mr_reg(domain, memory, size, FI_WRITE | FI_REMOTE_WRITE, 0, 1, 0,
                                  &registered, nullptr)) {
    return failed("registering memory", error);
  }
  registered_.reset(registered);
  descriptor_ = fi_mr_desc(registered);
  const bool virtual_addresses = (info.domain_attr->mr_mode & FI_MR_VIRT_ADDR) != 0;
  place_ = {virtual_addresses ? reinterpret_cast<std::uintptr_t>(memory) : 0,
            fi_mr_key(registered)};
  return {};
}

Result<void> RawFabricEnd::make_endpoint(fi_info* info) {
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

Result<void> RawFabricEnd::await_connected() {
  alignas(fi_eq_cm_entry) std::array<std::byte, 512> buffer;
  std::uint32_t event = 0;
  const ssize_t got = fi_eq_sread(events_.get(), &event, buffer.data(), buffer.size(), 5000, 0);
  if (got < 0 || event != FI_CONNECTED) return failed("connecting", got);
  return {};
}

bool RawFabricEnd::start_write(const std::byte* from, std::size_t size, const Place& to,
                               std::uint64_t offset) noexcept {
  const iovec local{const_cast<std::byte*>(from), size};
  const fi_rma_iov remote{to.address + offset, size, to.key};
  fi_msg_rma write{};
  write.msg_iov = &local;
  write.desc = &descriptor_;
  write.iov_count = 1;
  write.addr = FI_ADDR_UNSPEC;
  write.rma_iov = &remote;
  write.rma_iov_count = 1;
  return fi_writemsg(endpoint_.get(), &write, FI_COMPLETION) == 0;
}

void RawFabricEnd::sleep() noexcept {
  fid* fids[] = {&completions_->fid};
  if (fi_trywait(fabric_, fids, 1) != 0) return;
  pollfd entry{wait_fd_, POLLIN, 0};
  ::poll(&entry, 1, -1);
}

// ---- the client's side ----

Result<RawFabric> RawFabric::start(std::size_t max_size) {
  auto found = transport::fabric::find_provider({}, EndpointKind::kConnected, "127.0.0.1");
  if (!found) return tl::unexpected<Error>(found.error());
  const Provider& provider = **found;
  auto memory =
      base::SharedMemory::create("sublet-bench", kPage, base::SharedMemory::Pages::kSmall);
  if (!memory) return tl::unexpected<Error>(memory.error());
  const std::size_t side = (max_size + kPage - 1) / kPage * kPage;
  // Each process has an area of its own; only the control page is shared.
  auto make_area = [&] {
    return base::SharedMemory::create("sublet-bench", 2 * side, base::SharedMemory::Pages::kHuge);
  };
  auto sockets = base::make_socketpair();
  if (!sockets) return tl::unexpected<Error>(sockets.error());

  RawFabric raw;
  raw.provider_ = provider.name;
  raw.memory_ = std::move(*memory);
  raw.max_size_ = side;
  RawControl* const control = new (raw.memory_.data()) RawControl{};
  const int servers_socket = sockets->second.get();
  auto process = HelperProcess::start([&] {
    auto area = make_area();
    if (!area) return;
    Server server{control, {}, {}, area->data(), area->data() + side, side};
    if (auto done = serve_connection(provider, server.end, servers_socket, *area); !done) return;
    auto theirs = hear(servers_socket);
    if (!theirs) return;
    server.peer = theirs->place;
    server.run();
  });
  if (!process) return tl::unexpected<Error>(process.error());
  raw.server_ = std::move(*process);
  sockets->second.reset();

  auto area = make_area();
  if (!area) return tl::unexpected<Error>(area.error());
  raw.area_ = std::move(*area);
  raw.out_area_ = raw.area_.data();
  raw.in_area_ = raw.area_.data() + side;
  auto theirs = hear(sockets->first.get());
  if (!theirs) return tl::unexpected<Error>(theirs.error());
  raw.peer_ = {theirs->place.address + side, theirs->place.key};
  Result<void> done =
      raw.end_.prepare(*provider.info, provider.fabric.get(), raw.area_.data(), raw.area_.size());
  const transport::fabric::Info info = transport::fabric::copy_of(*provider.info);
  std::free(info->src_addr);  // the system chooses one
  info->src_addr = nullptr;
  info->src_addrlen = 0;
  if (done) done = raw.end_.make_endpoint(info.get());
  if (!done) return tl::unexpected<Error>(done.error());
  if (const int error = fi_connect(raw.end_.endpoint(), theirs->address.data(), nullptr, 0)) {
    return failed("connecting", error);
  }
  if (done = raw.end_.await_connected(); !done) return tl::unexpected<Error>(done.error());
  Greeting mine;
  mine.place = raw.end_.place();
  if (done = base::send_packet(sockets->first.get(), bytes_of(mine)); !done) {
    return tl::unexpected<Error>(done.error());
  }
  return raw;
}

RawControl& RawFabric::control() noexcept {
  return *std::launder(reinterpret_cast<RawControl*>(memory_.data()));
}

Result<void> RawFabric::pin_server(int cpu) {
  return pin(server_.pid(), cpu);
}

bool RawFabric::server_is_there() noexcept {
  if (!server_.alive()) return false;
  const base::Ticks now = base::ticks();
  if (waiting_since_ == 0) waiting_since_ = now;
  return now - waiting_since_ < base::TickRate::get().from(kRawExchangeLimit);
}

tl::unexpected<Error> RawFabric::server_gone() const {
  return fail(ErrorKind::kInternal, "the bare libfabric exchange's server (process " +
                                        std::to_string(server_.pid()) +
                                        ") has ended or does not answer");
}

Result<void> RawFabric::await_state(std::uint32_t state) {
  waiting_since_ = 0;
  while (control().state.load(std::memory_order_acquire) != state) {
    std::uint64_t data = 0;  // what is still in this process must leave it
    if (!end_.look(data) || !server_is_there()) return server_gone();
  }
  waiting_since_ = 0;
  return {};
}

Result<void> RawFabric::begin(RawKind kind, std::size_t size) {
  if (size > max_size_) return fail(ErrorKind::kInternal, "raw exchange larger than its area");
  number_ = 0;
  size_ = size;
  control().kind = kind;
  control().size = size;
  if (++commands_ == kAsleep) ++commands_;
  control().command.store(commands_, std::memory_order_release);
  futex_wake(control().command);
  return await_state(commands_);
}

Result<void> RawFabric::end() {
  if (!end_.write(out_area_, 0, peer_, 0, kStopData)) return server_gone();
  return await_state(kAsleep);
}

Result<double> RawFabric::write_bandwidth(std::size_t size, std::uint64_t count,
                                          std::size_t window) {
  if (size > max_size_) return fail(ErrorKind::kInternal, "raw write larger than its area");
  // As many buffers as fit, as an application that has so many writes under way would use.
  const std::uint64_t buffers = size == 0 ? 1 : std::min<std::uint64_t>(window, max_size_ / size);
  const std::uint64_t first = end_.done();
  std::uint64_t started = 0;
  std::uint64_t data = 0;
  waiting_since_ = 0;
  const base::Ticks start = base::ticks();
  while (end_.done() - first < count) {
    const std::uint64_t under_way = started - (end_.done() - first);
    const std::uint64_t at = started % buffers * size;
    if (started < count && under_way < window &&
        end_.start_write(out_area_ + at, size, peer_, at)) {
      ++started;
      continue;
    }
    if (!end_.look(data)) return server_gone();
  }
  if (!end_.write(out_area_, 0, peer_, 0, kStreamEnd)) return server_gone();
  while (data != kStreamEnd) {
    if (!end_.look(data)) return server_gone();
  }
  const auto ns = base::TickRate::get().to_ns(base::ticks() - start);
  return static_cast<double>(size * count) * 1e9 / static_cast<double>(ns);
}

}  // namespace sublet::bench
