#pragma once

#include <resource_manager/lease_book.hpp>
#include <resource_manager/lease_records.hpp>

#include <ledger/changes.hpp>
#include <ledger/database.hpp>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// What usage costs, without a currency: each for one hour.
struct Prices {
  double core_hour = 0;        ///< Of a core that is held.
  double memory_gib_hour = 0;  ///< Of a GiB that is held.
  double hot_poll_hour = 0;    ///< On top, of a worker that polls.
  double compute_hour = 0;     ///< On top, of a worker that computes.
  double gpu_hour = 0;         ///< Of a GPU that is held.
};

/// The one connection that writes the ledger.
///
/// Owner: the ledger; on its writer's thread once it has been opened.
class LedgerWriter {
 public:
  /// Makes the file when there is none. What it finds cannot be used: an Error is thrown.
  explicit LedgerWriter(const std::string& path);

  /// The grants that are open, and the first lease number that is free.
  std::vector<OpenGrant> open_grants();
  std::uint64_t unused_lease();
  LeaseRecords::Quotas quotas();
  /// In core-milliseconds, by user: of grants that began earlier, in proportion.
  std::vector<std::pair<std::uint32_t, std::int64_t>> used_since(Time begin, Time now);

  /// Leases from here on are granted at these.
  void set_prices(const Prices& prices, Time now);

  /// All of it or nothing, on disk when this returns.
  Result<void> commit(const Changes& changes);

 private:
  void write(const Changes& changes);
  void write(const EntryKey& key, const EntryChange& change);
  void write(std::int64_t uid, const std::optional<wire::LeaseQuota>& quota);
  struct Entry {
    std::int64_t id = 0;
    std::int64_t begin = 0;
    std::int64_t cores = 1;
  };
  /// Null: there is no such row.
  const Entry* find(const EntryKey& key);
  Entry& remember(const EntryKey& key, const Entry& entry);
  struct NodeSize {
    std::uint32_t cores = 0;
    std::uint32_t gpus = 0;
  };
  void open_entry(const EntryKey& key, const EntryChange::Opening& opening, const NodeSize& node);
  std::int64_t user_of(const GrantTerms& terms);
  std::int64_t node_of(const std::string& node_id);

  Database database_;
  std::int64_t price_ = 0;
  std::map<EntryKey, Entry> entries_;  ///< Of open grants.
  std::map<std::string, std::int64_t> nodes_;
  std::map<std::pair<std::int64_t, std::string>, std::int64_t> users_;

  Statement begin_, commit_;
  Statement put_node_, get_node_, put_user_, get_user_, put_lease_, put_entry_, get_entry_,
      put_grant_;
  Statement claim_, extend_, use_, close_, drop_grant_, number_, put_quota_, drop_quota_;
};

}  // namespace sublet::manager
