#pragma once

#include <common/manager_clock.hpp>
#include <common/rpc_listener.hpp>
#include <executor_manager/claim_check.hpp>
#include <executor_manager/container_runtime.hpp>
#include <executor_manager/core_locks.hpp>
#include <executor_manager/direct_leases.hpp>
#include <executor_manager/held_grant.hpp>
#include <executor_manager/node_drain.hpp>
#include <executor_manager/resource_manager_link.hpp>
#include <executor_manager/zygote_process.hpp>
#include <wire/manager_address.hpp>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

struct ExecutorManagerOptions {
  /// What it proves itself with to a resource manager, and clients to it. Not null.
  std::shared_ptr<const wire::Trust> trust = wire::Trust::load({});
  wire::ManagerLocation manager;  ///< The resource manager.
  /// Where it keeps its address when `manager` names none: read again before each connection.
  std::string manager_directory;
  /// Where clients connect. Empty: an abstract Unix socket, for clients of this node only.
  std::vector<std::string> listen;
  std::string cpuset;       ///< Cores to offer, in hwloc's syntax. Empty: all this process may use.
  std::uint32_t cores = 0;  ///< Of these, how many. 0: all.
  std::string avoid;        ///< Of these, those to use last, in hwloc's syntax.
  std::uint32_t oversubscribe = 1;  ///< How often each is offered.
  std::uint64_t memory_bytes = 0;   ///< To offer. 0: 80 % of the node's.
  /// GPUs to offer: "auto", those that the drivers tell of; "none"; else a file that lists them
  /// (gpu_discovery.hpp).
  std::string gpus = "auto";
  std::uint64_t stack_bytes = 0;  ///< Of each worker. 0: 8 MiB.
  /// Processes that are kept ready to become executors, at most.
  std::uint32_t warm_executors = 4;
  /// Hosts by which others reach this node, in place of "every interface". Empty: as found.
  std::vector<std::string> advertise;
  std::string data_host;       ///< For network connections. Empty: all addresses.
  std::string rdma_host;       ///< Device or address for RDMA. Empty: all active ports.
  std::string node_name;       ///< Empty: base::node_identity decides.
  std::string core_directory;  ///< Where executors that crash leave core files. Empty: none.
  /// Whom executors run as. Empty: when this process is root the lease's owner, or nobody where
  /// that is root; else whom it runs as.
  std::string executor_user;
  ExecutorUsers executor_users;  ///< In place of that, one for each lease.
  bool hide_executors =
      true;  ///< From other processes of their user, unless they leave core files.
  /// Others like this one offer the same cores (private managers of several jobs): theirs come
  /// last.
  bool shares_cores = false;
  /// How long a resource manager may refuse the node; a node that takes another's place may have to
  /// wait until that one counts as lost.
  milliseconds refused_limit = 2 * wire::kNodeLostAfter;
  /// Executors run in containers of these images. Nothing: in none.
  std::optional<ContainerImages> images;
  bool cgroup = true;                 ///< Memory cgroups for executors where they are delegated.
  bool takes_orders_to_leave = true;  ///< From the resource manager; else it ends with its owner.
  /// Leases to clients that ask it and no resource manager, beside those of the resource manager
  /// or, with the second, without any.
  bool direct = false;
  bool skip_resource_manager = false;
  /// Of the node; other than its own in tests.
  ManagerClock clock{};
};

/// What an executor manager has around it: processes, time and network. A simulation has its own.
struct NodeWorld {
  kj::Network& network;
  kj::Timer& timer;
  std::unique_ptr<ExecutorSource> executors;
  ManagerClock clock{};
  std::unique_ptr<BackgroundThread> library_thread = std::make_unique<BackgroundThread>();
};

/// One node's part of Sublet: offers its cores to the resource manager, keeps an executor for every
/// grant, serves the clients that claim them.
///
/// Owner: main. On the thread of `io`'s event loop; everything it has ends with it.
class ExecutorManager final : private kj::TaskSet::ErrorHandler {
 public:
  /// `zygote` was started first thing in main (start_zygote). Listens when this returns; connects
  /// to the resource manager by itself, again whenever that went away. `containers`: where there
  /// are images.
  static Result<kj::Own<ExecutorManager>> start(
      kj::AsyncIoContext& io, ZygoteProcess zygote, const ExecutorManagerOptions& options,
      std::optional<ContainerRuntime> containers = std::nullopt);
  /// `node` has its name, its id and the addresses at which make_claim_server's servers are
  /// reached; what it offers is `offer`. join() must follow.
  ExecutorManager(NodeWorld world, NodeOffer node, CoreInventory::Offer offer,
                  const ExecutorManagerOptions& options);
  ~ExecutorManager() noexcept(false);
  KJ_DISALLOW_COPY(ExecutorManager);

  /// Connects to the resource manager that is where `locate` says. Once.
  void join(ResourceManagerLink::Locate locate);

  /// Resolves when the resource manager knows this node for the first time.
  kj::Promise<void> registered() {
    return link_ ? link_->registered() : kj::Promise<void>(kj::READY_NOW);
  }

  /// Resolves when the resource manager does not want this node: with what it said.
  kj::Promise<std::string> refused() {
    return link_ ? link_->refused() : kj::Promise<std::string>(kj::NEVER_DONE);
  }

  /// Gives the node back: takes no new lease, lets calls under way end and ends the leases, at the
  /// latest after `limit`. Nothing when it drains already.
  /// With `own_notice` each lease has its notice period, if that is less.
  void drain(const std::string& reason, milliseconds limit, NodeDrain::Origin origin,
             bool own_notice = false);
  /// Resolves when it has drained, on whoever's word: whoever owns this then stops it. Call it
  /// once.
  kj::Promise<void> drained() { return drain_.drained(); }

  /// Ends all leases, telling their clients `reason` or that of the drain under way, and resolves
  /// once all executors are gone.
  kj::Promise<void> stop(const std::string& reason);

  [[nodiscard]] const NodeOffer& offer() const noexcept { return offer_; }

  /// Of its descriptors, listeners and libraries. `alarms` ends before this does.
  void add_alarms(Alarms& alarms);

  // ---- For the servers of this folder ----

  /// Reserves, and orders an executor. `issuer` has signed it, or will.
  Result<void> grant(GrantTerms terms, const Issuer& issuer);
  struct Claimed {
    kj::Own<HeldGrant> grant;
    bool borrowed = false;  ///< From its keeper: to be given back.
  };
  /// The grant that is presented, claimed for its holder, with `keep` for others who have his key,
  /// or borrowed. kDenied says what is wrong with it.
  Result<Claimed> claim(const ClaimAttempt& attempt, wire::LeaseNotices::Client notices,
                        bool keep = false);
  /// Ends a grant that nobody has claimed; false when there is none.
  bool end_unclaimed(LeaseId lease, std::uint32_t part, const std::string& reason);
  /// Of grants that are told from now on, unless they say otherwise.
  void set_issuer(const Issuer& issuer) { issuer_ = issuer; }
  [[nodiscard]] const Issuer& issuer() const noexcept { return issuer_; }
  [[nodiscard]] DirectLeases& direct() noexcept { return direct_; }
  [[nodiscard]] DirectUse direct_use() const;
  [[nodiscard]] const wire::SigningKey& key() const noexcept { return key_; }
  [[nodiscard]] const CoreInventory& inventory() const noexcept { return inventory_; }
  /// Resolves with false once the grant is gone and its cores are free, at once with true when
  /// `unclaimed_only` and a client has it.
  kj::Promise<bool> revoke(LeaseId lease, std::uint32_t part, const std::string& reason,
                           bool unclaimed_only);
  Result<void> extend(LeaseId lease, std::uint32_t part, Time expires);
  Result<void> end_soon(LeaseId lease, std::uint32_t part, milliseconds left,
                        const std::string& reason);
  /// Drains on the resource manager's word. kUnsupported: it ends with its owner alone.
  Result<void> order_drain(const std::string& reason, milliseconds limit, bool own_notice = false);
  /// As NodeDrain::cancel: the leases that are left go on.
  Result<bool> cancel_drain();
  [[nodiscard]] std::optional<wire::DrainCounts> drain_counts() const { return drain_.counts(); }
  [[nodiscard]] const std::vector<std::string>& advertised_hosts() const noexcept {
    return advertise_;
  }
  [[nodiscard]] bool leaving() const noexcept { return drain_.under_way(); }
  /// Those whose cores are not free yet: also such as are ending.
  [[nodiscard]] std::vector<HeldGrant*> held();
  /// How long calls have run since this began, but for those in what the node has leased by itself.
  [[nodiscard]] wire::CallTimes call_times() const;
  [[nodiscard]] Time now() const { return world_.clock.now(); }
  LibraryCache& libraries() noexcept { return libraries_; }
  [[nodiscard]] const std::shared_ptr<const wire::Trust>& trust() const noexcept {
    return connections_->trust;
  }

 private:
  using Key = std::pair<LeaseId, std::uint32_t>;

  kj::Promise<void> until_empty();
  Result<void> listen(kj::AsyncIoContext& io, const std::vector<std::string>& addresses);
  void grant_ended(HeldGrant& grant, const std::string& reason);
  HeldGrant* find(LeaseId lease, std::uint32_t part);
  void taskFailed(kj::Exception&& exception) override;

  NodeWorld world_;
  std::shared_ptr<ServedConnections> connections_;
  std::unique_ptr<CoreLocks> core_locks_;  ///< Null when it shares no cores.
  CoreInventory inventory_;
  LibraryCache libraries_;
  NodeServices services_;
  NodeOffer offer_;
  std::vector<std::string> advertise_;
  std::map<Key, kj::Own<HeldGrant>> grants_;
  struct Ended {
    wire::Nonce nonce{};
    Issuer issuer;
    std::string reason;
  };
  std::deque<Ended> ended_;                          ///< Of late.
  wire::CallTimes past_times_;                       ///< Of calls in grants that have ended.
  wire::SigningKey key_ = wire::SigningKey::make();  ///< New with each start: signed_grant.hpp.
  Issuer issuer_;                                    ///< The resource manager registered with last.
  DirectLeases direct_;
  const bool takes_orders_to_leave_;
  const milliseconds refused_limit_;
  NodeDrain drain_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> all_gone_;
  std::unique_ptr<ResourceManagerLink> link_;  ///< Null when it has no resource manager.
  kj::TaskSet tasks_;
  std::vector<kj::Own<RpcListener>> listeners_;
};

}  // namespace sublet::manager
