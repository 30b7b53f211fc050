#include <base/log.hpp>
#include <executor_manager/direct_leases.hpp>
#include <executor_manager/executor_manager.hpp>

#include <sodium.h>

#include <algorithm>
#include <utility>

namespace sublet::manager {

DirectLeases::DirectLeases(ExecutorManager& node, const ExecutorManagerOptions& options)
    : node_(node), enabled_(options.direct || options.skip_resource_manager) {
  operators_.insecure = options.trust->insecure();
  operators_.manager_uid = this_process().uid;
}

Result<void> DirectLeases::allowed(const Caller& caller) const {
  if (enabled_) return authorize(caller, Right::kLease, operators_);
  return fail(ErrorKind::kDenied,
              "node " + node_.offer().name +
                  " is leased through its resource manager alone: set SUBLET_MANAGER in place of "
                  "SUBLET_EXECUTORS, or have its executor manager started with --direct");
}

Result<NodeInfo> DirectLeases::look(const Caller& caller) const {
  if (auto may = allowed(caller); !may) return tl::unexpected<Error>(std::move(may.error()));
  const NodeOffer& offer = node_.offer();
  NodeInfo info;
  info.name = offer.name;
  info.node_id = offer.node_id;
  info.cores = offer.cores;
  info.free_cores = node_.inventory().free_cores();
  info.widest_worker = offer.widest_worker;
  info.memory_bytes = offer.memory_bytes;
  info.free_memory_bytes = node_.inventory().free_memory_bytes();
  info.gpus = offer.gpus;
  info.free_gpus = node_.inventory().free_gpus();
  info.cpuset = offer.cpuset;
  info.addresses = offer.addresses;
  info.state = node_.leaving() ? "draining" : "up";
  return info;
}

Result<std::vector<SealedTerms>> DirectLeases::lease(const DirectRequest& asked,
                                                     const Caller& caller) {
  if (auto may = allowed(caller); !may) return tl::unexpected<Error>(std::move(may.error()));
  const LeaseRequest& request = asked.request;
  const Issuer itself{.key = node_.key().public_key()};
  const Time now = node_.now();
  std::vector<SealedTerms> granted;
  for (std::size_t i = 0; i < asked.shares.size(); ++i) {
    const DirectRequest::Share& share = asked.shares[i];
    GrantTerms terms;
    terms.key = {asked.lease, share.part, NodeNumber{}};
    terms.workers = share.workers;
    terms.cores_per_worker = request.cores_per_worker;
    terms.gpus_per_worker = request.gpus_per_worker;
    terms.memory_bytes = share.memory_bytes;
    randombytes_buf(terms.token.data(), terms.token.size());
    terms.expires = now + request.duration;
    terms.hot_timeout_ms = request.hot_timeout.count();
    terms.slots = request.slots;
    terms.arena_bytes = request.arena_bytes;
    terms.owner = owner_text(caller, asked.owner);
    terms.owner_uid = caller.uid;
    terms.owner_by_key = caller.proof == Proof::kKey;
    terms.slurm_job = asked.slurm_job;
    if (auto held = node_.grant(terms, itself); !held) {
      for (const SealedTerms& grant : granted) {
        node_.end_unclaimed(grant.terms.key.lease, grant.terms.key.part,
                            "the lease was not granted");
      }
      return tl::unexpected<Error>(std::move(held.error()));
    }
    const wire::SealedGrant sealed =
        seal(terms, {itself.key, request.holders[i]}, now, node_.key());
    granted.push_back({std::move(terms), sealed});
  }
  base::log().info("lease {} in {} grants for {} ({}), who asked this node", number(asked.lease),
                   granted.size(), owner_text(caller, asked.owner), to_string(caller));
  return granted;
}

Result<Time> DirectLeases::extend(HeldGrant& grant, milliseconds duration) const {
  if (!wire::is_direct(number(grant.terms().key.lease))) {
    return fail(ErrorKind::kUnsupported,
                "the lease is a resource manager's, which alone can extend it");
  }
  const Time expires = std::max(grant.terms().expires, node_.now() + duration);
  if (auto extended = grant.extend(expires); !extended) {
    return tl::unexpected<Error>(std::move(extended.error()));
  }
  return expires;
}

}  // namespace sublet::manager
