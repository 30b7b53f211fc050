#include <ledger/changes.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {

void EntryChange::add(EntryChange later) {
  if (later.opened) {
    // It has come back, or is told again: it began when it first did.
    if (opened) later.opened->begin = std::min(opened->begin, later.opened->begin);
    opened = std::move(later.opened);
    closed.reset();
  }
  claimed |= later.claimed;
  if (later.expires) expires = later.expires;
  if (later.usage) usage = later.usage;
  if (later.closed) closed = std::move(later.closed);
}

void Changes::add(Changes&& later) {
  for (auto& [key, change] : later.entries) entries[key].add(std::move(change));
  for (auto& [id, node] : later.nodes) nodes.insert_or_assign(id, std::move(node));
  unused_lease = std::max(unused_lease, later.unused_lease);
  for (auto& [uid, quota] : later.quotas) quotas.insert_or_assign(uid, quota);
  told = std::max(told, later.told);
}

}  // namespace sublet::manager
