#pragma once

#include <sublet/export.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet {

/// How a client finds and uses a resource manager. Precedence: the defaults here, then the
/// configuration file ($SUBLET_CONFIG, else $XDG_CONFIG_HOME/sublet/sublet.conf), then the
/// environment (SUBLET_MANAGER, SUBLET_NODE_NAME, ...), then command-line flags, then what the
/// program sets itself. What a program leaves at its default is taken from file and environment.
struct SessionOptions {
  /// Address of the resource manager: unix:PATH or tcp:HOST:PORT. Empty: $SUBLET_MANAGER, else what
  /// the address file in `manager_directory` says, else a running local one; when there is none, a
  /// private one is started, which the processes of a job share, and which ends with the last.
  std::string manager;
  /// A directory in which a resource manager keeps its address (`sublet resource-manager
  /// --address-dir`). Empty: $SUBLET_MANAGER_DIR, else none.
  std::string manager_directory;
  /// Executor managers to lease from where there is no resource manager: their addresses, separated
  /// by commas, or a file that lists them as rFaaS does (executors_database.json). Then `manager`
  /// and `manager_directory` must be empty.
  std::string executors;
  /// False: fail instead of starting a private manager.
  bool allow_private = true;
  /// Tells virtual nodes on one machine apart. Empty: Slurm's name of the node, else the host name.
  std::string node_name;
  /// Files with a key that this user shares with managers on a network (`sublet key new`),
  /// separated by commas; the first is used. Empty: sublet/key in this user's configuration
  /// directory, then /etc/sublet/key, if there; where munged runs none is needed.
  std::string key_file;
  /// A user, by name or number, whose managers are believed beside root's and this user's own.
  std::string manager_user;
  /// Talk to managers on a network that run with --insecure: neither end knows who the other is.
  bool insecure = false;
  /// The transport to use: shm, verbs, fabric or tcp. Empty: the best one there is to each executor
  /// (shm on its own node, verbs where both ends have RDMA, an HPC fabric, else tcp).
  std::string transport;
  /// A node that does not answer at all for so long, its link cut or its power off, is lost, and
  /// with it the calls under way there. (A process that ends is noticed at once.)
  std::chrono::milliseconds peer_timeout{5000};
  /// Deadline of every single exchange with a manager.
  std::chrono::milliseconds timeout{5000};
  /// Cores that a private manager offers, in hwloc syntax. Empty: all that this process, or what
  /// has launched its job, may use.
  std::string private_cpuset;
  /// Of these cores, those to use only when no other is free, in hwloc syntax. Empty: none; an
  /// mpi::Allocator names those that ranks are bound to.
  std::string private_avoid;
  /// How often a private manager offers each core.
  std::uint32_t private_oversubscribe = 1;
  /// The file of a lease that `sublet lease` keeps: each lease of this session is a part of that
  /// one, as it is. Empty: $SUBLET_LEASE, which it sets for the programs that it runs, else none.
  std::string lease;
  /// Record every invocation for a timeline, see Session::write_trace.
  bool trace = false;
  /// True in what load() returns: nothing is left to be taken from file and environment.
  bool complete = false;

  /// Reads file and environment, then takes and removes Sublet's flags (--sublet-manager, ...) from
  /// argv. kInvalid names the option and where it was set.
  SUBLET_API static Result<SessionOptions> load(int* argc = nullptr, char** argv = nullptr);

  /// These options, with what is as by default replaced by what load() finds. Sessions and
  /// allocators do this by themselves.
  [[nodiscard]] SUBLET_API Result<SessionOptions> completed() const;
};

/// A GPU of a node.
struct GpuInfo {
  std::string uuid{};              ///< As its maker's libraries name it: "GPU-..." or "MIG-...".
  std::string name{};              ///< Of its model; empty: not known.
  std::uint64_t memory_bytes = 0;  ///< 0: not known.

  bool operator==(const GpuInfo&) const = default;
};

struct NodeInfo {
  std::string name;
  std::string node_id;
  std::uint32_t cores = 0;
  std::uint32_t free_cores = 0;
  std::uint32_t widest_worker = 0;  ///< The most cores that one worker can have: each counts once.
  std::uint64_t memory_bytes = 0;
  std::uint64_t free_memory_bytes = 0;
  std::vector<GpuInfo> gpus;
  std::uint32_t free_gpus = 0;
  std::uint32_t warm_executors = 0;  ///< Processes that are ready to become executors.
  std::string cpuset;
  std::vector<std::string> addresses;
  std::string state;                           ///< "up", "draining" or "lost".
  std::chrono::milliseconds heartbeat_age{0};  ///< Since the resource manager last heard of it.
  /// How far its clock is ahead of the resource manager's, as measured when it registered, and how
  /// wrong that may be.
  std::chrono::milliseconds clock_ahead{0};
  std::chrono::milliseconds clock_error{0};
};

struct LeaseInfo {
  std::uint64_t id = 0;
  /// "waiting", "reserved", "granted", "active", "ending" or "ended": docs/reference/leases.md.
  std::string state;
  std::string owner;        ///< user@node
  std::uint32_t cores = 0;  ///< Those of all its workers together.
  std::uint32_t gpus = 0;   ///< The same.
  std::vector<std::string> nodes;
  std::int64_t expires_unix_ms = 0;  ///< When it ends, or waits no more.
  Usage usage{};
  std::uint32_t uid = ~std::uint32_t{0};  ///< As proved; all ones: not proved, or several users'.
  std::uint32_t slurm_job = 0;            ///< 0: none.
  std::int32_t priority = 0;
  std::chrono::milliseconds notice{0};
  std::string reason;  ///< Why it is ending or has ended.
  // Of one that waits:
  std::chrono::milliseconds waited{0};
  std::uint32_t place = 0;  ///< From 1 on, in the order in which requests are served.
};

/// A client's connection to Sublet: a helper thread that talks to the managers, never on the path
/// of an invocation.
///
/// A handle; copies share the connection, which lives as long as the last of them and of its
/// leases. Thread rule: any thread may call any method. What can fail fails with kInvalid on an
/// empty handle (default-constructed or moved from).
class SUBLET_API Session {
 public:
  Session() = default;

  /// With what SessionOptions::load finds in file and environment.
  static Result<Session> open();
  static Result<Session> open(const SessionOptions& options);

  /// A session for a process that only claims grants: it connects to a resource manager when it
  /// needs one, and never starts one.
  static Result<Session> open_detached(const SessionOptions& options);

  /// Asks for a lease and claims all of it. The refusal says what was asked and what is free.
  Result<Lease> lease(const LeaseRequest& request = {});

  /// Of this session: who asks for grants on its behalf names it in LeaseRequest::holders. No
  /// secret. Zeros of an empty handle.
  [[nodiscard]] HolderKey holder_key() const noexcept;

  /// Asks for a lease and claims nothing: the grants of part p are for the session that
  /// `request.holders` names for it, which must claim them within the executor managers' claim
  /// timeout (5 s by default). kInvalid: there is not one holder for each part.
  Result<std::vector<Grant>> request(const LeaseRequest& request);

  /// Ends what nobody has claimed of `grants`, which request() of this session returned, instead of
  /// leaving it to the claim timeout. What has been claimed stays.
  void give_back(const std::vector<Grant>& grants) noexcept;

  /// Claims grants of one part, made by request() in this process or another.
  /// `request` is what they were asked for with: what is leased in place of nodes that leave is
  /// like it.
  Result<Lease> claim(const std::vector<Grant>& grants, const LeaseRequest& request = {});

  Result<std::vector<NodeInfo>> nodes();
  Result<std::vector<LeaseInfo>> leases();

  /// The resource manager in use; says so when it is a private one.
  [[nodiscard]] std::string manager_address() const;
  /// True when the resource manager is a private one, of this process or of its job.
  [[nodiscard]] bool manager_is_private() const noexcept;

  /// The recorded invocations as Chrome trace events (a JSON array's elements, comma-separated,
  /// without the brackets); `process` names their row group, `pid` orders it.
  [[nodiscard]] std::string trace_events(const std::string& process, int pid) const;

  /// Writes the recorded invocations of this process as a Chrome trace (opens in Perfetto).
  Result<void> write_trace(const std::string& path) const;

  [[nodiscard]] bool valid() const noexcept { return impl_ != nullptr; }

 private:
  explicit Session(std::shared_ptr<client::SessionImpl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<client::SessionImpl> impl_;
};

}  // namespace sublet
