#pragma once

// clang-format off
// STATES  node:  up -> lost (connection gone, or silent too long) -> up when it registers again.
//                Its grants are kept until it has been silent for `lost_after`: then it is written
//                off. A draining node keeps its grants and gets no new ones. A node that leaves is
//                forgotten at once, a lost one on demand, or after `forget_after`.
// LIMITS  NodeTable::Limits.
// clang-format on

#include <common/grant_terms.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/limits.hpp>
#include <wire/placement.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::manager {

using wire::Capacity;

/// The nodes that have registered, and what is free on each. No clock, no I/O.
///
/// Owner: the lease book; on its thread.
class NodeTable {
 public:
  struct Limits {
    milliseconds lost_after = wire::kNodeLostAfter;
    milliseconds forget_after{3'600'000};
    std::size_t nodes = 65536;
  };

  explicit NodeTable(const Limits& limits) : limits_(limits) {}

  /// A node joins or returns. The same id is the same node. kInvalid when the offer breaks a limit.
  Result<NodeNumber> join(const NodeOffer& offer, Time now);
  /// False: the node has been silent for too long and must register again.
  [[nodiscard]] bool heartbeat(NodeNumber node, Time now, const DirectUse& direct = {});
  /// The connection broke; the node may return with its grants.
  void disconnect(NodeNumber node, Time now);
  /// It is over when the node leaves or registers again.
  void set_draining(NodeNumber node, bool draining);
  /// How many processes are ready there to become executors: for people only.
  void set_warm(NodeNumber node, std::uint32_t executors);
  /// The node holds no grant any more, and is no more.
  void forget(NodeNumber node);

  /// Cores, memory and GPUs of a grant, on the node of its key.
  void take(const GrantTerms& terms);
  void give_back(const GrantTerms& terms);

  /// Nobody could be heard for `time`.
  void excuse_silence(milliseconds time);

  struct Silent {
    NodeNumber node{};
    milliseconds silence{0};
  };
  /// Writes off the nodes that have been silent for `lost_after`, each once. They still hold their
  /// grants in this table.
  std::vector<Silent> write_off_silent(Time now);
  /// Forgets those that have been lost for `forget_after`.
  void forget_lost(Time now);

  // ---- Looking. A node that is not known has nothing and is not up. ----

  /// By name.
  [[nodiscard]] std::vector<NodeInfo> views(Time now) const;
  enum class State : std::uint8_t { kUp, kDraining, kLost };
  /// What a node has and how much of it is used.
  struct Load {
    NodeNumber node{};
    std::string_view name;  ///< Until the table changes.
    State state = State::kUp;
    std::uint32_t cores = 0;
    std::uint32_t used_cores = 0;  ///< By grants, and by what the node has leased by itself.
    std::uint64_t memory_bytes = 0;
    std::uint64_t used_memory_bytes = 0;
    std::uint32_t gpus = 0;
    std::uint32_t used_gpus = 0;
    std::uint32_t warm_executors = 0;
    Time heard{};
    milliseconds clock_ahead{0};
  };
  /// By name; less work than views().
  [[nodiscard]] std::vector<Load> loads() const;
  /// The nodes of that name; kInvalid, with the names there are, when there is none.
  [[nodiscard]] Result<std::vector<NodeNumber>> named(const std::string& name) const;
  [[nodiscard]] std::optional<NodeNumber> find(const std::string& node_id) const;
  [[nodiscard]] const NodeOffer* offer(NodeNumber node) const;
  /// Another node than the one called `name` that offers this GPU, and is connected or has leases
  /// with GPUs: two executor managers of one machine find the same ones. Null: there is none.
  [[nodiscard]] const NodeOffer* gpu_owner(const std::string& uuid, const std::string& name) const;
  [[nodiscard]] bool is_up(NodeNumber node) const;
  [[nodiscard]] bool is_draining(NodeNumber node) const;
  [[nodiscard]] Capacity free(NodeNumber node) const;
  /// Of nodes that may get a grant and are not in `excluded`.
  [[nodiscard]] std::vector<Capacity> available(const std::set<NodeNumber>& excluded) const;
  /// Of these the few that a request is best placed on if their memory will do, found without
  /// looking at the others: those with just enough cores for all of it, or those with most to
  /// spread it over.
  [[nodiscard]] std::vector<Capacity> likely(const LeaseRequest& request,
                                             std::optional<NodeNumber> own_node,
                                             const std::set<NodeNumber>& excluded) const;
  /// What nodes that may get a grant would have if nothing were granted on them.
  [[nodiscard]] std::vector<Capacity> when_empty() const;
  /// Of all nodes that may get a grant together.
  [[nodiscard]] std::uint64_t free_cores() const { return free_cores_; }
  [[nodiscard]] const std::set<GrantKey>& grants(NodeNumber node) const;

 private:
  struct Node {
    NodeOffer offer;
    std::uint32_t used_cores = 0;
    std::uint64_t used_memory = 0;
    std::uint32_t used_gpus = 0;
    DirectUse direct;
    std::set<GrantKey> grants;
    Time heard{};
    std::uint32_t warm_executors = 0;
    bool connected = false;
    bool draining = false;
    bool written_off = false;
    std::uint32_t indexed = 0;  ///< Its free cores as in by_free_cores_; 0: it is not there.

    /// What an executor manager offers can shrink below what it still holds.
    [[nodiscard]] std::uint32_t free_cores() const {
      const std::uint32_t rest = offer.cores - std::min(offer.cores, used_cores);
      return rest - std::min(rest, direct.cores);
    }
    [[nodiscard]] std::uint32_t gpus() const {
      return static_cast<std::uint32_t>(offer.gpus.size());
    }
    [[nodiscard]] std::uint32_t free_gpus() const {
      const std::uint32_t rest = gpus() - std::min(gpus(), used_gpus);
      return rest - std::min(rest, direct.gpus);
    }
    [[nodiscard]] std::uint64_t free_memory() const {
      const std::uint64_t rest = offer.memory_bytes - std::min(offer.memory_bytes, used_memory);
      return rest - std::min(rest, direct.memory_bytes);
    }
  };

  Result<void> check(const NodeOffer& offer) const;
  /// After any change of what a node can be granted.
  void index(NodeNumber number, Node& node);
  void forget_gpus(NodeNumber number, const Node& node);
  static Capacity capacity(NodeNumber number, const Node& node);
  [[nodiscard]] const Node* known(NodeNumber node) const;
  static NodeInfo view(const Node& node, Time now);
  static State state_of(const Node& node);

  Limits limits_;
  std::uint32_t next_ = 1;
  std::map<NodeNumber, Node> nodes_;
  std::map<std::string, NodeNumber> ids_;
  std::map<std::string, NodeNumber> gpu_owners_;  ///< By UUID: who offers it.
  /// Those that may get a grant and have cores for one.
  std::set<std::pair<std::uint32_t, NodeNumber>> by_free_cores_;
  std::uint64_t free_cores_ = 0;  ///< Of these.
};

/// "up", "draining", "lost".
[[nodiscard]] const char* to_string(NodeTable::State state) noexcept;

}  // namespace sublet::manager
