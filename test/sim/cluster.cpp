#include "cluster.hpp"

#include <common/async.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace sublet::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kUsers = 8;
constexpr std::uint32_t kFirstUid = 3'000'001;  // nobody's

}  // namespace

Cluster::Cluster(const ClusterOptions& options)
    : options_(options),
      world_(options.seed),
      account_(world_),
      manager_(world_, options.directory) {
  if (options_.prints) world_.trace.print();
  for (std::uint32_t i = 0; i < options_.nodes; ++i) {
    const auto clock_error =
        std::chrono::duration_cast<milliseconds>(world_.dice.between(-500ms, 500ms));
    machines_.push_back(std::make_unique<Machine>(world_, account_, "n" + std::to_string(i),
                                                  1 + world_.dice.pick(8), clock_error));
  }
  for (std::uint32_t i = 0; i < options_.clients; ++i) {
    // Some run on nodes of the cluster.
    base::NodeIdentity node;
    node.name = "client" + std::to_string(i);
    node.id = world_.dice.one_in(4) ? any_machine().node_id() : kMachines + node.name;
    node.chosen = true;
    clients_.push_back(std::make_unique<Client>(world_, "client" + std::to_string(i), node,
                                                kFirstUid + i % kUsers));
  }
  operator_ = std::make_unique<Operator>(world_, options_.nodes);
}

Cluster::~Cluster() noexcept(false) = default;

Outcome Cluster::run() {
  repair();
  const auto end = world_.time.elapsed() + options_.trouble;
  while (sound() && world_.time.elapsed() < end) {
    trouble();
    step(world_.dice.between(1ms, 60ms));
  }
  if (sound()) calm();
  if (sound()) finish();
  Outcome outcome;
  outcome.failure = world_.failure();
  outcome.hash = world_.trace.hash();
  outcome.events = world_.trace.events();
  for (const auto& client : clients_) outcome.leases += client->leases();
  outcome.grants = account_.grants();
  outcome.core_ms = account_.core_ms();
  outcome.time = world_.time.elapsed();
  return outcome;
}

void Cluster::step(std::chrono::nanoseconds time) {
  world_.pass(time);
  if (manager_.service() == nullptr) disturb("manager", 0s);
  for (const auto& machine : machines_) {
    machine->remove_ended(undisturbed("manager") && undisturbed(machine->name()));
  }
  check_book();
  check_quotas();
  world_.check_waits();
}

// ---- trouble ----

void Cluster::trouble() {
  if (manager_.service() == nullptr && world_.dice.one_in(8)) manager_.start();
  const std::uint32_t die = world_.dice.pick(100);
  if (die < 2) {
    trouble_manager();
  } else if (die < 30) {
    trouble_machine();
  } else if (die < 45) {
    trouble_network();
  } else if (die < 70) {
    trouble_client();
  } else if (die < 76) {
    operator_->act();
  }
}

void Cluster::trouble_manager() {
  if (manager_.service() == nullptr) return;
  switch (world_.dice.pick(4)) {
    case 0:
      disturb("manager", 0s);
      return manager_.kill();
    case 1:
      disturb("manager", 0s);
      return manager_.stop();
    case 2:
      return freeze(manager_.process(), world_.dice.between(100ms, 7000ms));
    default:
      disturb("manager", 0s);
      manager_.kill();
      return manager_.start();
  }
}

void Cluster::trouble_machine() {
  Machine& machine = any_machine();
  if (machine.manager() == nullptr) return machine.start();
  switch (world_.dice.pick(12)) {
    case 0:
      return machine.kill();
    case 1:
      return machine.vanish();
    case 2:
      return machine.stop(
          std::chrono::duration_cast<milliseconds>(world_.dice.between(0ms, 4000ms)));
    case 3:
      return freeze(machine.process(), world_.dice.between(100ms, 8000ms));
    case 4:
      machine.kill();
      return machine.start();
    default:
      machine.crash_an_executor();
  }
}

void Cluster::trouble_network() {
  Machine& machine = any_machine();
  switch (world_.dice.pick(5)) {
    case 0:
      return stall(machine.name(), world_.dice.between(100ms, 7000ms));
    case 1:
      return stall("manager", world_.dice.between(50ms, 2000ms));
    case 2:
      return stall(any_client().process() == nullptr ? "operator" : "client0",
                   world_.dice.between(100ms, 7000ms));
    default:
      if (machine.process() == nullptr || !machine.process()->alive()) return;
      world_.note(machine.name() + ": its connections break");
      disturb(machine.name(), 0s);
      for (const auto& wire : machine.process()->wires()) {
        if (world_.dice.one_in(2)) wire->reset();
      }
  }
}

void Cluster::trouble_client() {
  Client& client = any_client();
  if (client.process() == nullptr) return client.start();
  if (world_.dice.one_in(3)) return client.kill();
  if (world_.dice.one_in(4)) freeze(client.process(), world_.dice.between(100ms, 8000ms));
}

void Cluster::freeze(Process* process, std::chrono::nanoseconds time) {
  if (process->frozen()) return;
  world_.note(process->name() + " is stopped");
  disturb(process->machine(), time);
  process->freeze();
  world_.spawn(world_.time.timer().afterDelay(manager::to_kj(time)).then([this, process] {
    if (process->alive()) world_.note(process->name() + " is continued");
    process->thaw();
  }));
}

void Cluster::stall(const std::string& machine, std::chrono::nanoseconds time) {
  world_.network.stall(machine, time);
  disturb(machine, time);
}

void Cluster::disturb(const std::string& machine, std::chrono::nanoseconds time) {
  auto& until = disturbed_until_[machine];
  until = std::max(until, world_.time.elapsed() + time);
}

/// For long enough to have said, and heard, all that there is.
bool Cluster::undisturbed(const std::string& machine) const {
  constexpr auto kEnough = 6s;
  const auto until = disturbed_until_.find(machine);
  return until == disturbed_until_.end() || world_.time.elapsed() - until->second > kEnough;
}

void Cluster::repair() {
  manager_.start();
  for (const auto& machine : machines_) machine->start();
  for (const auto& client : clients_) client->start();
}

// ---- and after it ----

/// As long as everything that the trouble has left behind may take.
void Cluster::calm() {
  constexpr auto kCalm = 18s;
  world_.note("calm");
  calm_since_ = world_.time.elapsed();
  for (const auto& client : clients_) client->rest();
  const auto end = world_.time.elapsed() + kCalm;
  while (sound() && world_.time.elapsed() < end) {
    repair();
    step(250ms);
  }
  if (sound()) check_shares();
}

void Cluster::finish() {
  world_.note("the end");
  for (const auto& client : clients_) client->release_all();
  const auto end = world_.time.elapsed() + 6s;
  while (sound() && world_.time.elapsed() < end) step(250ms);
  world_.check_waits(calm_since_);
  if (sound()) check_end();
}

// ---- checks ----

void Cluster::check_book() {
  if (manager_.service() == nullptr) return;
  const manager::LeaseBook& book = manager_.service()->book();
  for (const auto& machine : machines_) {
    const auto number = book.nodes().find(machine->node_id());
    if (!number) continue;
    const manager::NodeOffer& offer = *book.nodes().offer(*number);
    std::uint64_t cores = 0;
    std::uint64_t memory = 0;
    std::uint64_t gpus = 0;
    for (const manager::GrantKey& key : book.nodes().grants(*number)) {
      const manager::GrantRecord* const grant = book.grants().find(key);
      if (grant == nullptr) return world_.broken("the book holds a grant that is none");
      cores += grant->terms.cores();
      memory += grant->terms.memory_bytes;
      gpus += grant->terms.gpus();
    }
    const manager::Capacity free = book.nodes().free(*number);
    if (free.gpus + gpus != offer.gpus.size()) {
      world_.broken("the book has " + std::to_string(free.gpus) + " of " +
                    std::to_string(offer.gpus.size()) + " GPUs of " + offer.name +
                    " free, and grants of " + std::to_string(gpus));
    }
    if (free.cores + cores != offer.cores || free.memory_bytes + memory != offer.memory_bytes) {
      world_.broken("the book has " + std::to_string(free.cores) + " of " +
                    std::to_string(offer.cores) + " cores of " + offer.name +
                    " free, and grants of " + std::to_string(cores));
    }
  }
}

/// A node that comes back with grants that were taken for lost, or that had not reached the disk
/// when the manager died, may bring more than the quota; nobody is granted more.
void Cluster::check_quotas() {
  if (manager_.service() == nullptr) return;
  const bool restarted = std::exchange(checked_, manager_.process()) != manager_.process();
  const manager::LeaseBook& book = manager_.service()->book();
  std::map<std::uint32_t, std::uint64_t> held;  // without what came back since the last step
  std::set<std::uint32_t> granted;              // somebody was, since then
  std::set<manager::GrantKey> seen;
  for (const auto& machine : machines_) {
    const auto node = book.nodes().find(machine->node_id());
    if (!node) continue;
    for (const manager::GrantKey& key : book.nodes().grants(*node)) {
      const manager::GrantRecord& grant = *book.grants().find(key);
      const manager::GrantTerms& terms = grant.terms;
      const bool is_new = !seen_.contains(key);
      // One that a node took up just before it registered again is new to both.
      const bool came_back = terms.held_for > milliseconds(0) || !undisturbed(machine->name());
      if (is_new && !came_back) granted.insert(terms.owner_uid);
      const bool just_now = is_new || grant.since >= checked_at_;
      if (!came_back || !just_now) held[terms.owner_uid] += terms.cores();
      seen.insert(key);
    }
  }
  seen_ = std::move(seen);
  checked_at_ = manager_.process()->clock();
  if (restarted) return;
  for (const std::uint32_t uid : granted) {
    if (held[uid] <= ManagerProcess::kQuotaCores) continue;
    world_.broken("user " + std::to_string(uid) + " was granted more than " +
                  std::to_string(ManagerProcess::kQuotaCores) + " cores: he has " +
                  std::to_string(held[uid]));
  }
}

/// Clients, nodes and the book agree on who holds what, but for what is being said just now.
void Cluster::check_shares() {
  constexpr auto kOnItsWay = 3s;
  const std::set<std::string> first = disagreements();
  step(kOnItsWay);
  for (const std::string& still : disagreements()) {
    if (first.contains(still)) world_.broken(still);
  }
}

std::set<std::string> Cluster::disagreements() {
  using Place = std::tuple<std::uint64_t, std::uint32_t, std::string>;
  std::set<std::string> found;
  const auto check = [&found](const std::set<Place>& these, const std::set<Place>& those,
                              const std::string& otherwise) {
    for (const Place& place : these) {
      if (those.contains(place)) continue;
      const auto& [lease, part, node] = place;
      found.insert("lease " + std::to_string(lease) + " part " + std::to_string(part) + " on " +
                   node + " " + otherwise);
    }
  };
  std::set<Place> of_clients;
  for (const auto& client : clients_) {
    for (const Client::Share& share : client->shares()) {
      if (!share.lost) of_clients.emplace(share.lease, share.part, share.node);
    }
  }
  std::set<Place> of_nodes;
  std::set<Place> claimed;
  std::set<Place> of_book;
  const manager::LeaseBook& book = manager_.service()->book();
  for (const auto& machine : machines_) {
    const auto node = book.nodes().find(machine->node_id());
    if (machine->manager() == nullptr || !node || !book.nodes().is_up(*node)) {
      found.insert(machine->name() + " is not up, though nothing disturbs it");
      continue;
    }
    for (const manager::HeldGrant* const held : machine->manager()->held()) {
      const Place place{number(held->terms().key.lease), held->terms().key.part, machine->name()};
      of_nodes.insert(place);
      if (!held->over()) claimed.insert(place);
    }
    for (const manager::GrantKey& key : book.nodes().grants(*node)) {
      of_book.emplace(number(key.lease), key.part, machine->name());
    }
  }
  check(of_clients, of_nodes, "has ended, and its client does not know");
  check(claimed, of_clients, "is held, and nobody has it");
  check(of_nodes, of_book, "is held, and the book has forgotten it");
  check(of_book, of_nodes, "is in the book, and not on its node");
  return found;
}

void Cluster::check_end() {
  const manager::LeaseBook& book = manager_.service()->book();
  if (book.grants().live() != 0) {
    world_.broken(std::to_string(book.grants().live()) + " grants are left in the book");
  }
  if (const std::size_t waiting = manager_.service()->desk().queue().size(); waiting != 0) {
    world_.broken(std::to_string(waiting) + " requests wait, and nobody for them");
  }
  for (const auto& machine : machines_) {
    if (machine->manager() == nullptr) continue;
    if (!machine->manager()->held().empty()) {
      world_.broken(machine->name() + " holds grants that nobody wants");
    }
  }
  manager_.stop();
  if (!sound()) return;
  auto rows = manager_.rows();
  if (options_.forges_ledger) {
    for (wire::LedgerRow& row : rows) ++row.core_ms;
  }
  account_.compare(rows);
  const wire::LedgerCheck check = manager_.check();
  if (check.found != 0) world_.broken("the ledger: " + check.problems.front());
}

}  // namespace sublet::sim
