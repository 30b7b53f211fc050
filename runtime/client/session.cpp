#include <base/log.hpp>
#include <client/control_thread.hpp>
#include <client/guarded.hpp>
#include <client/kept_lease.hpp>
#include <client/last_handle.hpp>
#include <client/lease_impl.hpp>
#include <client/private_manager.hpp>
#include <sublet/session.hpp>
#include <wire/control.capnp.h>
#include <wire/convert.hpp>
#include <wire/manager_address.hpp>
#include <wire/trust.hpp>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <sodium.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <mutex>
#include <utility>

namespace sublet {
namespace client {

class SessionImpl {
 public:
  SessionOptions options;
  // Destroyed last: the managers outlive the connection to them.
  std::shared_ptr<PrivateManager> private_manager;
  std::string manager_address;
  std::shared_ptr<ControlPlane> control;
  std::mutex mutex;  ///< Guards traces.
  std::vector<std::shared_ptr<TraceBuffer>> traces;

  std::shared_ptr<TraceBuffer> new_trace() {
    if (!options.trace) return nullptr;
    auto buffer = std::make_shared<TraceBuffer>();
    const std::lock_guard lock(mutex);
    traces.push_back(buffer);
    return buffer;
  }
};

namespace {

/// True when something listens on the Unix socket of `address`.
bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  path.copy(address.sun_path, path.size());
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return fd.valid() &&
         ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

Result<std::shared_ptr<SessionImpl>> make_session(const SessionOptions& given) {
  const auto complete = given.completed();
  if (!complete) return tl::unexpected<Error>(complete.error());
  const SessionOptions& options = *complete;
  if (::sodium_init() < 0) return fail(ErrorKind::kInternal, "libsodium does not initialise");
  if (!options.executors.empty() &&
      !(options.manager.empty() && options.manager_directory.empty())) {
    return fail(
        ErrorKind::kInvalid,
        "both executor managers (SUBLET_EXECUTORS, executors) and a resource manager "
        "(SUBLET_MANAGER, SUBLET_MANAGER_DIR, manager, manager-dir) are named; leave one out");
  }
  if (options.timeout.count() <= 0) {
    return fail(ErrorKind::kInvalid, "a session's timeout is " +
                                         std::to_string(options.timeout.count()) +
                                         " ms; it must be more than 0");
  }
  static const bool noticed = (notice_exit(), true);
  (void)noticed;
  std::shared_ptr<SessionImpl> session(new SessionImpl, LastHandle());
  session->options = options;
  session->control = std::make_shared<ControlPlane>(
      base::node_identity(options.node_name), options.transport,
      client::Timeouts{options.timeout, options.peer_timeout},
      wire::Trust::load({.key_files = wire::key_files(options.key_file),
                         .manager_user = options.manager_user,
                         .insecure = options.insecure}));
  session->control->set_manager(options.manager, options.manager_directory);
  session->control->set_executors(options.executors);
  if (!options.lease.empty()) {
    auto kept = KeptLeaseFile::read(options.lease);
    if (!kept) return tl::unexpected<Error>(std::move(kept.error()));
    session->control->hold_with(wire::SigningKey::from_seed(kept->holder_seed));
    session->manager_address = kept->manager;
  }
  (void)base::TickRate::get();  // measured now, not in the first call
  return session;
}

Result<void> join_private_manager(SessionImpl& session) {
  const auto deadline = std::chrono::steady_clock::now() + session.options.timeout;
  for (;;) {
    auto manager = PrivateManager::of_this_job(session.options);
    if (!manager) return tl::unexpected<Error>(manager.error());
    wire::ManagerLocation location;
    location.address = (*manager)->address();
    auto connected = session.control->connect_manager(location);
    // Another process's may just have ended with its last user; then the next one is ours.
    const bool again = !connected && connected.error().kind() == ErrorKind::kDisconnected &&
                       std::chrono::steady_clock::now() < deadline;
    if (again) continue;
    if (!connected) {
      return fail(
          connected.error().kind(),
          "connecting to this job's private manager: " + std::string(connected.error().what()),
          connected.error().system_errno());
    }
    session.manager_address = location.address;
    session.private_manager = std::move(*manager);
    return {};
  }
}

Result<std::shared_ptr<SessionImpl>> open_session(const SessionOptions& given) {
  auto made = make_session(given);
  if (!made) return tl::unexpected<Error>(made.error());
  SessionImpl& session = **made;
  if (!session.options.executors.empty()) {
    // Somebody must answer.
    if (auto nodes = session.control->nodes(); !nodes) {
      return tl::unexpected<Error>(std::move(nodes.error()));
    }
    return made;
  }
  if (!session.options.lease.empty()) {
    // A resource manager is asked only for more time, or to look at.
    if (session.options.manager.empty() && session.options.manager_directory.empty()) {
      session.control->set_manager(session.manager_address, {});
    }
    return made;
  }
  auto found = wire::find_manager(session.options.manager, session.options.manager_directory);
  if (!found) return tl::unexpected<Error>(std::move(found.error()));
  wire::ManagerLocation location = std::move(*found);
  if (location.address.empty()) {
    auto address = wire::local_manager_address();
    if (!address) return tl::unexpected<Error>(std::move(address.error()));
    const std::string local = address->substr(std::strlen("unix:"));
    if (answers(local)) {
      location.address = *address;
    } else if (session.options.allow_private) {
      auto joined = join_private_manager(session);
      if (!joined) return tl::unexpected<Error>(joined.error());
      return made;
    } else {
      return fail(ErrorKind::kDisconnected,
                  "no resource manager runs: nothing answers at " + local +
                      "; start one with 'sublet resource-manager', or set SUBLET_MANAGER or "
                      "SUBLET_MANAGER_DIR");
    }
  }
  session.manager_address = location.address;
  if (auto connected = session.control->connect_manager(location); !connected) {
    return fail(connected.error().kind(),
                "connecting to " + location.to_string() + ": " + connected.error().what() + "; " +
                    (location.file.empty()
                         ? "check SUBLET_MANAGER, or start one with 'sublet resource-manager'"
                         : location.advice()),
                connected.error().system_errno());
  }
  return made;
}

/// A lease that keeps its session, and so a private manager, for as long as it lives.
std::shared_ptr<LeaseImpl> with_session(std::shared_ptr<SessionImpl> session,
                                        std::shared_ptr<LeaseImpl> lease) {
  struct Both {
    std::shared_ptr<SessionImpl> session;
    std::shared_ptr<LeaseImpl> lease;
  };
  LeaseImpl* pointer = lease.get();
  std::shared_ptr<Both> both(new Both{std::move(session), std::move(lease)}, LastHandle());
  return {std::move(both), pointer};
}

using Nodes = std::vector<std::unique_ptr<NodeLink>>;

Result<std::shared_ptr<LeaseImpl>> begin_lease(const std::shared_ptr<SessionImpl>& session,
                                               Result<Nodes> nodes,
                                               const std::shared_ptr<LeaseEvents>& events,
                                               const LeaseRequest& request) {
  if (!nodes) return tl::unexpected<Error>(nodes.error());
  auto lease =
      LeaseImpl::create(session->control, std::move(*nodes), events, request, session->new_trace());
  if (!lease) return tl::unexpected<Error>(lease.error());
  return with_session(session, std::move(*lease));
}

/// Between two looks at whether a part of a kept lease is free.
constexpr auto kLookAgain = std::chrono::milliseconds(20);

/// The parts of the kept lease that this session is for, each with room for what is asked for.
Result<std::vector<std::vector<Grant>>> parts_for(const SessionImpl& session,
                                                  const LeaseRequest& request) {
  auto kept = KeptLeaseFile::read(session.options.lease);
  if (!kept) return tl::unexpected<Error>(std::move(kept.error()));
  auto parts = kept->parts();
  std::uint64_t workers = 0;
  for (const Grant& grant : parts.front()) workers += grant.cores;
  const std::uint32_t width = parts.front().front().cores_per_worker;
  const std::uint32_t gpus = parts.front().front().gpus_per_worker;
  if (request.parts <= parts.size() && request.cores <= workers &&
      request.cores_per_worker <= width && request.gpus_per_worker <= gpus) {
    return parts;
  }
  const auto text = [&](std::uint64_t count, std::uint64_t cores, std::uint64_t each,
                        std::uint64_t gpus_each) {
    const std::string gpu_text = " and " + std::to_string(gpus_each) + " GPUs";
    return std::to_string(count) + (count == 1 ? " part of " : " parts of ") +
           std::to_string(cores) + " workers with " + std::to_string(each) +
           (each == 1 ? " core" : " cores") + (request.gpus_per_worker == 0 ? "" : gpu_text);
  };
  return fail(
      ErrorKind::kInvalid,
      "asked for " +
          text(request.parts, request.cores, request.cores_per_worker, request.gpus_per_worker) +
          " of lease " + std::to_string(kept->lease_id) + ", which has " +
          text(parts.size(), workers, width, gpus) +
          "; `sublet lease` takes --parts, --cores, --cores-per-worker and --gpus");
}

/// One part that nobody else has just now.
Result<Nodes> claim_part(SessionImpl& session, const LeaseRequest& request,
                         const std::shared_ptr<LeaseEvents>& events) {
  const auto parts = parts_for(session, request);
  if (!parts) return tl::unexpected<Error>(parts.error());
  const auto deadline = std::chrono::steady_clock::now() + request.wait;
  for (;;) {
    for (const auto& part : *parts) {
      auto claimed = session.control->claim(part, events);
      if (claimed || claimed.error().kind() != ErrorKind::kOverloaded) return claimed;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail(ErrorKind::kOverloaded,
                  "all " + std::to_string(parts->size()) + " parts of lease " +
                      std::to_string(parts->front().front().lease_id) +
                      " are in use by others; wait, or keep more with --parts of `sublet lease`");
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

}  // namespace

Result<KeptLease> KeptLease::open(const SessionOptions& options, const LeaseRequest& request,
                                  Events events) {
  auto session = open_session(options);
  if (!session) return tl::unexpected<Error>(std::move(session.error()));
  auto told = std::make_shared<LeaseEvents>();
  told->set_on_ending(std::move(events.on_ending));
  told->set_on_lost(std::move(events.on_lost));
  auto nodes = (*session)->control->lease(request, told, true);
  if (!nodes) return tl::unexpected<Error>(std::move(nodes.error()));
  KeptLease kept;
  kept.file_.manager = (*session)->manager_address;
  kept.file_.holder_seed = (*session)->control->holder_seed();
  kept.file_.lease_id = nodes->front()->grant().lease_id;
  for (const auto& node : *nodes) kept.file_.grants.push_back(node->grant());
  kept.session_ = std::move(*session);
  kept.nodes_ = std::move(*nodes);
  return kept;
}

}  // namespace client

namespace {

/// Of all parts. Only what is larger than any cluster does not fit.
std::uint64_t cores_of(const LeaseRequest& request) {
  const auto whole = std::uint64_t{request.cores} * request.cores_per_worker;
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  return request.parts != 0 && whole > kMost / request.parts ? kMost : whole * request.parts;
}

/// Once where it waits at the manager, else again for a moment when cores may come back.
template <class Ask>
auto asked(client::ControlPlane& control, const LeaseRequest& request, Ask&& ask)
    -> decltype(ask()) {
  if (request.wait.count() > 0) return ask();
  return control.while_cores_return(cores_of(request), std::forward<Ask>(ask));
}

tl::unexpected<Error> empty_session(const char* attempted) {
  return fail(ErrorKind::kInvalid,
              std::string(attempted) + ": this Session is empty; Session::open() makes one");
}

}  // namespace

Result<Session> Session::open() {
  auto options = SessionOptions::load();
  if (!options) return tl::unexpected<Error>(options.error());
  return open(*options);
}

Result<Session> Session::open_detached(const SessionOptions& options) {
  return client::guarded("opening a session", [&]() -> Result<Session> {
    auto session = client::make_session(options);
    if (!session) return tl::unexpected<Error>(session.error());
    return Session(std::move(*session));
  });
}

Result<Session> Session::open(const SessionOptions& options) {
  return client::guarded("opening a session", [&]() -> Result<Session> {
    auto opened = client::open_session(options);
    if (!opened) return tl::unexpected<Error>(std::move(opened.error()));
    return Session(std::move(*opened));
  });
}

Result<Lease> Session::lease(const LeaseRequest& request) {
  if (!impl_) return empty_session("asking for a lease");
  if (request.parts != 1) {
    return fail(ErrorKind::kInvalid, "a lease for several clients is asked for with request()");
  }
  return client::guarded("leasing", [&]() -> Result<Lease> {
    auto events = std::make_shared<client::LeaseEvents>();
    if (!impl_->options.lease.empty()) {
      LeaseRequest part = request;
      part.replace = false;  // what takes its place would be another lease
      auto nodes = impl_->control->while_cores_return(
          cores_of(request), [&] { return client::claim_part(*impl_, request, events); });
      auto lease = client::begin_lease(impl_, std::move(nodes), events, part);
      if (!lease) return tl::unexpected<Error>(std::move(lease.error()));
      return Lease(std::move(*lease));
    }
    auto nodes =
        asked(*impl_->control, request, [&] { return impl_->control->lease(request, events); });
    auto lease = client::begin_lease(impl_, std::move(nodes), events, request);
    if (!lease) return tl::unexpected<Error>(std::move(lease.error()));
    return Lease(std::move(*lease));
  });
}

Result<std::vector<Grant>> Session::request(const LeaseRequest& request) {
  if (!impl_) return empty_session("asking for grants");
  if (impl_->options.lease.empty()) {
    return asked(*impl_->control, request, [&] { return impl_->control->request(request); });
  }
  const auto parts = client::parts_for(*impl_, request);
  if (!parts) return tl::unexpected<Error>(parts.error());
  std::vector<Grant> grants;
  for (std::uint32_t part = 0; part < request.parts; ++part) {
    for (Grant grant : (*parts)[part]) {
      grant.part = part;
      grants.push_back(std::move(grant));
    }
  }
  return grants;
}

HolderKey Session::holder_key() const noexcept {
  return impl_ ? impl_->control->holder_key() : HolderKey{};
}

void Session::give_back(const std::vector<Grant>& grants) noexcept {
  if (impl_ && !grants.empty()) impl_->control->give_back(grants.front().lease_id);
}

Result<Lease> Session::claim(const std::vector<Grant>& grants, const LeaseRequest& request) {
  if (!impl_) return empty_session("claiming grants");
  if (grants.empty()) return fail(ErrorKind::kInvalid, "there is no grant to claim");
  return client::guarded("claiming grants", [&]() -> Result<Lease> {
    auto events = std::make_shared<client::LeaseEvents>();
    auto nodes = impl_->control->claim(grants, events);
    auto lease = client::begin_lease(impl_, std::move(nodes), events, request);
    if (!lease) return tl::unexpected<Error>(std::move(lease.error()));
    return Lease(std::move(*lease));
  });
}

Result<std::vector<NodeInfo>> Session::nodes() {
  if (!impl_) return empty_session("asking for the nodes");
  return impl_->control->nodes();
}

Result<std::vector<LeaseInfo>> Session::leases() {
  if (!impl_) return empty_session("asking for the leases");
  return impl_->control->leases();
}

std::string Session::manager_address() const {
  if (!impl_) return "none";
  if (impl_->private_manager) return impl_->manager_address + " (private)";
  if (!impl_->options.executors.empty()) return "none, but executors: " + impl_->options.executors;
  return impl_->manager_address.empty() ? "none" : impl_->manager_address;
}

bool Session::manager_is_private() const noexcept {
  return impl_ && impl_->private_manager != nullptr;
}

std::string Session::trace_events(const std::string& process, int pid) const {
  std::string out;
  if (!impl_) return out;
  const std::lock_guard lock(impl_->mutex);
  for (const auto& trace : impl_->traces) {
    if (!out.empty()) out += ",\n";
    out += client::to_chrome_events(*trace, process, pid);
  }
  return out;
}

Result<void> Session::write_trace(const std::string& path) const {
  if (!impl_) return empty_session("writing the timeline");
  std::ofstream file(path);
  file << "{\"traceEvents\":[\n" << trace_events("client", ::getpid()) << "\n]}\n";
  file.close();
  if (!file) return fail(ErrorKind::kInvalid, "writing the timeline to '" + path + "' failed");
  return {};
}

// ---- Grant ----

std::vector<std::byte> Grant::to_bytes() const {
  capnp::MallocMessageBuilder message;
  wire::write(message.initRoot<wire::Grant>(), *this);
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = std::as_bytes(std::span(words.begin(), words.size()));
  return {bytes.begin(), bytes.end()};
}

Result<Grant> Grant::from_bytes(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0) {
    return fail(ErrorKind::kInvalid, std::to_string(bytes.size()) +
                                         " bytes cannot be a grant: no whole number of words");
  }
  const auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  std::memcpy(const_cast<capnp::word*>(words.begin()), bytes.data(), bytes.size());
  try {
    capnp::FlatArrayMessageReader reader(words);
    return wire::read(reader.getRoot<wire::Grant>());
  } catch (const kj::Exception& exception) {
    return fail(ErrorKind::kInvalid,
                std::string("the bytes are no grant: ") + exception.getDescription().cStr());
  }
}

}  // namespace sublet
