#include "account.hpp"

#include <set>

namespace sublet::sim {
namespace {

std::string name_of(const Account::Key& key) {
  return "lease " + std::to_string(key.lease) + " part " + std::to_string(key.part) + " on " +
         key.node;
}

}  // namespace

void Account::started(const Key& key, std::uint32_t run, const Size& size, Time now) {
  const auto [entry, is_new] = held_.try_emplace(key);
  Held& held = entry->second;
  if (is_new) {
    held.run = run;
    held.size = size;
    held.begin = now;
  } else if (!held.end) {
    world_.broken(name_of(key) + " has two executors at one time");
  } else if (*held.end != now) {
    world_.broken(name_of(key) + " was granted again after it had ended");
  }
  held.end.reset();
}

void Account::ended(const Key& key, Time now, std::uint64_t invocations) {
  Held& held = held_.at(key);
  held.end = now;
  held.invocations += invocations;
}

void Account::cut_off(const std::string& node, std::uint32_t run) {
  for (auto& [key, held] : held_) {
    if (key.node == node && held.run == run) held.cut_off = true;
  }
}

void Account::compare(const std::vector<wire::LedgerRow>& rows) {
  std::set<Key> seen;
  for (const wire::LedgerRow& row : rows) {
    const Key key{row.lease_id, row.part, row.node};
    const auto held = held_.find(key);
    if (!seen.insert(key).second) {
      world_.broken("the ledger has " + name_of(key) + " twice");
    } else if (held == held_.end()) {
      world_.broken("the ledger has " + name_of(key) + ", which nobody held");
    } else {
      compare(key, held->second, row);
    }
  }
  for (const auto& [key, held] : held_) {
    // Killed before it had said that it holds it.
    if (seen.contains(key) || held.cut_off) continue;
    world_.broken("the ledger has forgotten " + name_of(key));
  }
}

void Account::compare(const Key& key, const Held& held, const wire::LedgerRow& row) {
  const auto ms = static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, (held.end.value_or(held.begin) - held.begin).count()));
  const std::uint64_t truth = ms * held.size.cores;
  core_ms_ += truth;
  const std::string said = name_of(key) + " was held for " + std::to_string(truth) +
                           " core-ms, and the ledger has " + std::to_string(row.core_ms);
  if (!held.end) {
    world_.broken(name_of(key) + " still has an executor");
  } else if (row.open != 0) {
    world_.broken("the ledger has " + name_of(key) + " as open");
  } else if (row.unsure != 0 && held.cut_off) {
    // What was used after the last that was heard is lost with who measured it.
    if (row.core_ms > truth) world_.broken(said);
  } else if (row.unsure != 0) {
    world_.broken("the ledger is not sure of " + name_of(key) +
                  ", whose node has told its end: it has \"" + row.end + "\", " + row.reason +
                  ", from " + std::to_string(row.begin_unix_ms) + " to " +
                  std::to_string(row.end_unix_ms));
  } else if (row.core_ms != truth) {
    world_.broken(said);
  } else if (row.gpu_ms != ms * held.size.gpus) {
    world_.broken(name_of(key) + " has had " + std::to_string(held.size.gpus) + " GPUs for " +
                  std::to_string(ms) + " ms, and the ledger has " + std::to_string(row.gpu_ms) +
                  " GPU-ms");
  } else if (row.usage.invocations != held.invocations) {
    world_.broken(name_of(key) + " made " + std::to_string(held.invocations) +
                  " calls, and the ledger has " + std::to_string(row.usage.invocations));
  }
}

}  // namespace sublet::sim
