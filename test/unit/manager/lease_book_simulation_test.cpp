// A whole cluster in one thread, driven by a seed: clients, nodes with their own timers and real
// core inventories, a resource manager that dies and returns, and connections that carry messages
// in order until they break. Checked after every step:
//   - a node is never asked for a core that it has already given away;
//   - for every node, free cores and memory in the book are what it offers less what grants hold;
//   - a claimed grant is never ended by the book before its time;
//   - nodes that return are never told that something does not match;
//   - an observer hears of each grant that a node holds once, then perhaps of its claim, then of
//   its
//     end, and of nothing in another order.
// And in the end, once time has passed and everybody is connected: every grant has ended on both
// sides, and all cores are free.

#include <executor_manager/core_inventory.hpp>
#include <resource_manager/lease_book.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <sstream>
#include <tuple>
#include <utility>

namespace sublet::manager {
namespace {

using namespace std::chrono_literals;

struct ToNode {
  enum class Kind { kGrant, kRevoke, kExtend } kind = Kind::kGrant;
  GrantTerms terms;
  Revocation revocation;
};

struct ToManager {
  enum class Kind { kConfirm, kRefuse, kClaimed, kEnded, kRevoked, kUsage } kind = Kind::kConfirm;
  GrantKey key;
  bool held = false;
};

struct Held {
  GrantTerms terms;
  CoreInventory::Reservation cores;
  Time claim_until{};
};

/// An executor manager, seen from outside.
struct Node {
  explicit Node(const std::string& name, std::uint32_t cores)
      : inventory(
            {.cpusets = cpusets(cores), .memory_bytes = 1000, .gpus = gpus(name, cores / 2)}) {
    offer = {name, "boot/" + name, cores, 1000, "", {}};
    offer.gpus = inventory.gpus();
  }
  static std::vector<CoreInventory::Offer::Gpu> gpus(const std::string& name, std::uint32_t count) {
    std::vector<CoreInventory::Offer::Gpu> gpus;
    for (std::uint32_t i = 0; i < count; ++i) {
      gpus.push_back({{"GPU-" + name + "-" + std::to_string(i)}});
    }
    return gpus;
  }
  static std::vector<std::string> cpusets(std::uint32_t count) {
    std::vector<std::string> texts;
    for (std::uint32_t i = 0; i < count; ++i) texts.push_back(std::to_string(i));
    return texts;
  }

  NodeOffer offer;
  CoreInventory inventory;
  std::map<std::pair<LeaseId, std::uint32_t>, Held> held;
  bool connected = false;
  bool frozen = false;  ///< Its messages are stuck, and so are its heartbeats.
  NodeNumber number{};
  std::deque<ToNode> inbox;
  std::deque<ToManager> outbox;
};

/// A lease call that waits for its nodes, or a lease that has been given to a client.
struct Lease {
  std::vector<GrantTerms> grants;
  std::set<GrantKey> open;  ///< Not answered yet.
  bool failed = false;
  bool answered = false;
  bool has_handle = true;
};

/// Follows the events of one lease book.
class Follower final : public LeaseObserver {
 public:
  void granted(const GrantOnNode& grant) override {
    EXPECT_TRUE(live_.emplace(key_of(grant), false).second) << "granted twice";
  }
  void claimed(const GrantOnNode& grant) override {
    const auto live = live_.find(key_of(grant));
    ASSERT_NE(live, live_.end()) << "claimed before it was granted";
    EXPECT_FALSE(std::exchange(live->second, true)) << "claimed twice";
  }
  void used(const GrantOnNode& grant, const Usage&) override {
    EXPECT_TRUE(live_.contains(key_of(grant))) << "used before it was granted";
  }
  void extended(const GrantOnNode& grant) override {
    EXPECT_TRUE(live_.contains(key_of(grant))) << "extended before it was granted";
  }
  void ended(const GrantOnNode& grant, const Usage&, const GrantEnding&) override {
    EXPECT_EQ(live_.erase(key_of(grant)), 1u) << "ended before it was granted";
  }

  [[nodiscard]] std::size_t live() const { return live_.size(); }

 private:
  using Key = std::tuple<LeaseId, std::uint32_t, std::string>;
  static Key key_of(const GrantOnNode& grant) {
    return {grant.terms.key.lease, grant.terms.key.part, grant.node.node_id};
  }
  std::map<Key, bool> live_;  ///< And whether they are claimed.
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : random_(seed) {
    for (int i = 0; i < 4; ++i) {
      nodes_.push_back(std::make_unique<Node>("c" + std::to_string(i), 1 + pick(6)));
    }
    restart_manager();
  }

  void run(int steps) {
    for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
      act();
      pass(milliseconds(pick(80)));
      check();
    }
  }

  /// Nothing new is asked for, everybody is there, and time passes.
  void settle() {
    for (int round = 0; round < 200 && !testing::Test::HasFailure(); ++round) {
      for (auto& node : nodes_) {
        node->frozen = false;
        connect(*node);
      }
      deliver_all();
      pass(1s);
      check();
    }
    deliver_all();
    EXPECT_EQ(book_->grants().live(), 0u);
    EXPECT_EQ(follower_->live(), 0u);
    EXPECT_TRUE(book_->grants().leases(false).empty());
    for (const NodeInfo& view : book_->nodes().views(now_)) {
      for (const GrantTerms& terms : grants_on(view)) {
        ADD_FAILURE() << "lease " << static_cast<std::uint64_t>(terms.key.lease) << " part "
                      << terms.key.part << " on " << view.name << " (" << view.state
                      << ") never ended; its state is "
                      << static_cast<int>(*book_->grants().state(terms.key));
      }
    }
    for (const auto& node : nodes_) {
      EXPECT_TRUE(node->held.empty());
      EXPECT_EQ(node->inventory.free_cores(), node->offer.cores);
      EXPECT_EQ(node->inventory.free_memory_bytes(), node->offer.memory_bytes);
      EXPECT_EQ(node->inventory.free_gpus(), node->offer.gpus.size());
    }
    for (const NodeInfo& view : book_->nodes().views(now_)) {
      EXPECT_EQ(view.free_cores, view.cores);
      EXPECT_EQ(view.free_memory_bytes, view.memory_bytes);
      EXPECT_EQ(view.free_gpus, view.gpus.size());
    }
  }

  [[nodiscard]] std::string summary() const {
    std::ostringstream text;
    for (const auto& [what, count] : counts_) text << what << " " << count << ", ";
    return text.str();
  }
  [[nodiscard]] int count(const char* what) const {
    const auto found = counts_.find(what);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  std::uint32_t pick(std::uint32_t below) {
    return std::uniform_int_distribution<std::uint32_t>(0, below - 1)(random_);
  }
  Node& any_node() { return *nodes_[pick(static_cast<std::uint32_t>(nodes_.size()))]; }
  Node* node_of(NodeNumber number) {
    for (auto& node : nodes_) {
      if (node->connected && node->number == number) return node.get();
    }
    return nullptr;
  }

  void act() {
    const std::uint32_t die = pick(2000);
    if (die < 200) {
      request();
    } else if (die < 1400) {
      deliver(any_node());
    } else if (die < 1650) {
      claim(any_node());
    } else if (die < 1730) {
      release(any_node());
    } else if (die < 1760) {
      drop_handle();
    } else if (die < 1780) {
      extend();
    } else if (die < 1900) {
      connect(any_node());
    } else if (die < 1910) {
      disconnect(any_node());
    } else if (die < 1915) {
      kill(any_node());
    } else if (die < 1918) {
      leave(any_node());
    } else if (die < 1926) {
      thaw_one_freeze_another();
    } else if (die < 1930) {
      if (const auto node = book_->nodes().find(any_node().offer.node_id)) {
        book_->set_draining(*node, pick(4) == 0);
      }
    } else if (die < 1933) {
      restart_manager();
    }
  }

  void thaw_one_freeze_another() {
    any_node().frozen = false;
    any_node().frozen = pick(2) == 0;
    ++counts_["freezes"];
  }

  // ---- the resource manager's server ------------------------------------------------------------

  void restart_manager() {
    ++counts_["manager starts"];
    first_lease_ += 1u << 20;
    LeaseBook::Limits limits;
    limits.grants.ended_leases = 20;
    book_ = std::make_unique<LeaseBook>(limits, LeaseId{first_lease_},
                                        [this](std::span<std::byte> bytes) {
                                          for (std::byte& byte : bytes)
                                            byte = static_cast<std::byte>(random_());
                                        });
    follower_ = std::make_unique<Follower>();
    book_->set_observer(follower_.get());
    for (auto& node : nodes_) cut(*node);
    leases_.clear();
  }

  void request() {
    LeaseRequest ask;
    ask.cores = 1 + pick(3);
    ask.cores_per_worker = 1 + pick(2);
    ask.gpus_per_worker = pick(3) == 0 ? 1 : 0;
    ask.parts = 1 + pick(3);
    ask.memory_bytes = pick(400);
    ask.duration = std::chrono::seconds(1 + pick(60));
    ask.placement = static_cast<Placement>(pick(3));
    auto grants = book_->reserve(ask, {{}, any_node().offer.node_id, "client"}, now_);
    if (!grants) {
      ++counts_["requests refused"];
      return;
    }
    Lease lease;
    for (const GrantTerms& terms : *grants) {
      Node* const node = node_of(terms.key.node);
      ASSERT_NE(node, nullptr) << "the book chose a node that is not connected";
      lease.open.insert(terms.key);
      node->inbox.push_back({ToNode::Kind::kGrant, terms, {}});
    }
    lease.grants = std::move(*grants);
    leases_.emplace(lease.grants.front().key.lease, std::move(lease));
    ++counts_["leases reserved"];
  }

  void send(const std::vector<Revocation>& revocations) {
    for (const Revocation& revocation : revocations) {
      if (Node* const node = node_of(revocation.key.node)) {
        node->inbox.push_back({ToNode::Kind::kRevoke, {}, revocation});
      }
    }
  }

  /// A node's answer to a grant, or the end of its connection, which answers all that are open.
  void answer(const GrantKey& key, bool confirmed, bool refused) {
    if (confirmed) book_->confirmed(key, now_);
    if (refused) book_->refused(key);
    const auto lease = leases_.find(key.lease);
    if (lease == leases_.end() || lease->second.open.erase(key) == 0) return;
    lease->second.failed |= !confirmed;
    if (!lease->second.open.empty()) return;
    if (lease->second.failed) {
      send(book_->withdraw(key.lease, now_));
      leases_.erase(lease);
      ++counts_["leases withdrawn"];
    } else {
      lease->second.answered = true;
      ++counts_["leases granted"];
    }
  }

  void drop_handle() {
    if (leases_.empty()) return;
    auto lease = std::next(leases_.begin(), pick(static_cast<std::uint32_t>(leases_.size())));
    if (!lease->second.answered || !lease->second.has_handle) return;
    lease->second.has_handle = false;
    send(book_->handle_dropped(lease->first, now_));
    ++counts_["handles dropped"];
  }

  void extend() {
    if (leases_.empty()) return;
    auto lease = std::next(leases_.begin(), pick(static_cast<std::uint32_t>(leases_.size())));
    if (!lease->second.answered) return;
    const auto extension =
        book_->extend(lease->first, std::as_bytes(std::span(lease->second.grants[0].token)),
                      milliseconds(pick(40000)), now_);
    if (!extension) return;
    ++counts_["extensions"];
    for (const GrantKey& key : extension->grants) {
      if (Node* const node = node_of(key.node)) {
        GrantTerms terms;
        terms.key = key;
        terms.expires = extension->expires;
        node->inbox.push_back({ToNode::Kind::kExtend, terms, {}});
      }
    }
  }

  // ---- connections ------------------------------------------------------------------------------

  /// Both directions are lost, and calls that are open fail.
  void cut(Node& node) {
    if (!node.connected) return;
    node.connected = false;
    node.inbox.clear();
    node.outbox.clear();
    std::vector<GrantKey> open;
    for (const auto& [id, lease] : leases_) {
      for (const GrantKey& key : lease.open) {
        if (key.node == node.number) open.push_back(key);
      }
    }
    for (const GrantKey& key : open) answer(key, false, false);
  }

  void disconnect(Node& node) {
    if (!node.connected) return;
    book_->node_disconnected(node.number, now_);
    cut(node);
    ++counts_["connections broken"];
  }

  void connect(Node& node) {
    if (node.connected || node.frozen) return;
    std::vector<GrantTerms> held;
    for (const auto& [key, grant] : node.held) held.push_back(grant.terms);
    const auto registration = book_->register_node(node.offer, held, now_);
    ASSERT_TRUE(registration) << registration.error().what();
    ASSERT_TRUE(registration->notes.empty()) << registration->notes.front();
    node.number = registration->node;
    node.connected = true;
    send(registration->revocations);
    ++counts_["registrations"];
  }

  void kill(Node& node) {
    disconnect(node);
    node.held.clear();
    ++counts_["nodes killed"];
  }

  void leave(Node& node) {
    if (!node.connected || node.frozen) return;
    node.held.clear();
    book_->node_left(node.number);
    cut(node);
    ++counts_["nodes left"];
  }

  void deliver_all() {
    for (auto& node : nodes_) {
      while (!node->inbox.empty() || !node->outbox.empty()) deliver(*node);
    }
  }

  void deliver(Node& node) {
    if (node.frozen) return;
    if (!node.outbox.empty() && (node.inbox.empty() || pick(2) == 0)) {
      ToManager message = node.outbox.front();
      node.outbox.pop_front();
      // A node knows its grants by lease and part; who speaks is known by the connection.
      message.key.node = node.number;
      receive(message);
    } else if (!node.inbox.empty()) {
      const ToNode message = node.inbox.front();
      node.inbox.pop_front();
      receive(node, message);
    }
  }

  void receive(const ToManager& message) {
    switch (message.kind) {
      case ToManager::Kind::kConfirm:
        return answer(message.key, true, false);
      case ToManager::Kind::kRefuse:
        return answer(message.key, false, true);
      case ToManager::Kind::kClaimed:
        return book_->claimed(message.key);
      case ToManager::Kind::kEnded:
        return book_->ended(message.key, {}, "released");
      case ToManager::Kind::kRevoked:
        return message.held ? book_->claimed(message.key) : book_->refused(message.key);
      case ToManager::Kind::kUsage:
        return book_->usage(message.key, {});
    }
  }

  // ---- executor managers ------------------------------------------------------------------------

  void receive(Node& node, const ToNode& message) {
    if (message.kind == ToNode::Kind::kGrant) return receive_grant(node, message.terms);
    const GrantKey& key =
        message.kind == ToNode::Kind::kRevoke ? message.revocation.key : message.terms.key;
    const auto held = node.held.find({key.lease, key.part});
    if (message.kind == ToNode::Kind::kExtend) {
      if (held != node.held.end()) held->second.terms.expires = message.terms.expires;
      return;
    }
    const bool keep =
        held != node.held.end() && held->second.terms.claimed && message.revocation.unclaimed_only;
    if (held != node.held.end() && !keep) {
      if (held->second.terms.claimed) {
        ASSERT_GT(now_, held->second.terms.expires) << "a claimed grant was ended before its time";
      }
      end(node, held->first);
    }
    node.outbox.push_back({ToManager::Kind::kRevoked, key, keep});
  }

  void receive_grant(Node& node, const GrantTerms& terms) {
    if (pick(20) == 0) {
      ++counts_["grants refused"];
      node.outbox.push_back({ToManager::Kind::kRefuse, terms.key, false});
      return;
    }
    auto cores = node.inventory.reserve(
        {terms.workers, terms.cores_per_worker, terms.gpus_per_worker, terms.memory_bytes});
    ASSERT_TRUE(cores) << "given twice: " << cores.error().what();
    Held held{terms, std::move(*cores), now_ + wire::kClaimTimeout};
    ASSERT_TRUE(
        node.held.emplace(std::pair(terms.key.lease, terms.key.part), std::move(held)).second);
    node.outbox.push_back({ToManager::Kind::kConfirm, terms.key, false});
  }

  void end(Node& node, std::pair<LeaseId, std::uint32_t> which) {
    const auto held = node.held.find(which);
    if (node.connected) {
      node.outbox.push_back({ToManager::Kind::kEnded, held->second.terms.key, false});
    }
    node.held.erase(held);
  }

  void claim(Node& node) {
    for (auto& [which, held] : node.held) {
      const auto lease = leases_.find(which.first);
      if (held.terms.claimed || lease == leases_.end() || !lease->second.answered) continue;
      held.terms.claimed = true;
      if (node.connected) {
        node.outbox.push_back({ToManager::Kind::kClaimed, held.terms.key, false});
      }
      ++counts_["claims"];
      return;
    }
  }

  void release(Node& node) {
    for (auto& [which, held] : node.held) {
      if (!held.terms.claimed || pick(2) == 0) continue;
      end(node, which);
      ++counts_["releases"];
      return;
    }
  }

  // ---- time -------------------------------------------------------------------------------------

  void pass(milliseconds time) {
    now_ += time;
    for (auto& node : nodes_) {
      std::vector<std::pair<LeaseId, std::uint32_t>> over;
      for (const auto& [which, held] : node->held) {
        const bool unclaimed = !held.terms.claimed && now_ > held.claim_until;
        if (unclaimed || now_ > held.terms.expires) over.push_back(which);
      }
      for (const auto& which : over) end(*node, which);
      if (node->connected && !node->frozen && !book_->heartbeat(node->number, now_)) {
        cut(*node);
        ++counts_["nodes told to register again"];
      }
    }
    const LeaseBook::Due due = book_->tick(now_);
    for (auto& node : nodes_) {
      // The server drops a node's connection when it gives the node up.
      if (node->connected && !book_->nodes().is_up(node->number)) cut(*node);
    }
    counts_["nodes lost"] += static_cast<int>(due.notes.size());
    send(due.revocations);
  }

  [[nodiscard]] std::vector<GrantTerms> grants_on(const NodeInfo& view) const {
    std::vector<GrantTerms> grants;
    for (const GrantKey& key : book_->nodes().grants(*book_->nodes().find(view.node_id))) {
      grants.push_back(book_->grants().find(key)->terms);
    }
    return grants;
  }

  void check() {
    std::set<Token> tokens;
    std::size_t held_by_nodes = 0;
    for (const NodeInfo& view : book_->nodes().views(now_)) {
      std::uint64_t cores = 0;
      std::uint64_t memory = 0;
      std::uint64_t gpus = 0;
      for (const GrantTerms& terms : grants_on(view)) {
        cores += terms.cores();
        gpus += terms.gpus();
        memory += terms.memory_bytes;
        ASSERT_TRUE(tokens.insert(terms.token).second);
        held_by_nodes += book_->grants().find(terms.key)->held ? 1 : 0;
      }
      ASSERT_LE(cores, view.cores);
      ASSERT_LE(memory, view.memory_bytes);
      if (view.state == "lost") continue;
      ASSERT_EQ(view.free_cores + cores, view.cores);
      ASSERT_EQ(view.free_memory_bytes + memory, view.memory_bytes);
      ASSERT_EQ(view.free_gpus + gpus, view.gpus.size());
    }
    ASSERT_EQ(tokens.size(), book_->grants().live());
    ASSERT_EQ(held_by_nodes, follower_->live());
    for (const auto& node : nodes_) {
      std::set<std::uint32_t> cores;
      std::set<std::uint32_t> gpus;
      for (const auto& [which, held] : node->held) {
        for (const std::uint32_t gpu : held.cores.gpus()) {
          ASSERT_TRUE(gpus.insert(gpu).second) << "GPU " << gpu << " is granted twice";
        }
        for (const std::uint32_t core : held.cores.cores()) {
          ASSERT_TRUE(cores.insert(core).second) << "core " << core << " is granted twice";
        }
      }
    }
  }

  std::mt19937_64 random_;
  Time now_{1'700'000'000'000ms};
  std::uint64_t first_lease_ = 1;
  std::unique_ptr<Follower> follower_;
  std::unique_ptr<LeaseBook> book_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<LeaseId, Lease> leases_;
  std::map<std::string, int> counts_;
};

std::vector<std::uint64_t> seeds() {
  if (const char* seed = std::getenv("SUBLET_SIMULATION_SEED")) {
    return {std::strtoull(seed, nullptr, 0)};
  }
  std::vector<std::uint64_t> chosen;
  for (std::uint64_t i = 1; i <= 30; ++i) chosen.push_back(i);
  // And one that nobody has seen before.
  chosen.push_back(std::random_device()());
  return chosen;
}

TEST(LeaseBookSimulation, KeepsItsPromisesWhateverHappens) {
  for (const std::uint64_t seed : seeds()) {
    SCOPED_TRACE("run again with SUBLET_SIMULATION_SEED=" + std::to_string(seed));
    Simulation simulation(seed);
    simulation.run(20000);
    simulation.settle();
    if (HasFailure()) return;
    // Or else nothing has been shown.
    for (const char* what : {"leases granted", "leases withdrawn", "claims", "releases",
                             "nodes lost", "manager starts", "extensions", "handles dropped"}) {
      EXPECT_GT(simulation.count(what), 0) << simulation.summary();
    }
    RecordProperty("seed_" + std::to_string(seed), simulation.summary());
  }
}

}  // namespace
}  // namespace sublet::manager
