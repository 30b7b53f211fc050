#pragma once

#include <resource_manager/lease_book.hpp>
#include <resource_manager/lease_observer.hpp>
#include <sublet/result.hpp>
#include <wire/ledger_page.hpp>
#include <wire/quota_info.hpp>

#include <kj/async.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace sublet::manager {

/// What outlives the resource manager: told everything that happens to grants, it writes it down in
/// the background, and what was written is there again after a restart.
///
/// Events are numbered in the order in which they are told. `kept()` goes up when they are on disk,
/// and stands still while nothing can be written there.
/// Owner: main; it outlives the service, which calls it on its event loop only.
class LeaseRecords : public LeaseObserver {
 public:
  /// The grants that had not ended when the manager before this one did. Once.
  virtual std::vector<OpenGrant> take_open() = 0;
  /// No lease has had this number, or a higher one.
  [[nodiscard]] virtual LeaseId unused_lease() const = 0;
  /// The number is given to a lease, and counts as used once that lease's grants are kept.
  virtual void numbered(LeaseId lease) = 0;

  /// What operators have set, by the user; everybody's has none. Once.
  using Quotas = std::vector<std::pair<std::optional<std::uint32_t>, wire::LeaseQuota>>;
  virtual Quotas take_quotas() = 0;
  /// Of user `uid`, or everybody's. Null: he has none of his own any more. Kept as events are.
  virtual void quota_set(std::optional<std::uint32_t> uid, const wire::LeaseQuota* quota) = 0;
  /// What each user has used since then, in core-milliseconds. Before anything is told.
  virtual std::vector<std::pair<std::uint32_t, std::int64_t>> used_since(Time begin) = 0;

  /// kOverloaded: nothing may be leased now, and what an operator can do about it.
  [[nodiscard]] virtual Result<void> ready() const = 0;
  /// Resolves once all that has been told is on disk, or with why it is not.
  virtual kj::Promise<Result<void>> keep() = 0;
  /// How many events there were.
  [[nodiscard]] virtual std::uint64_t told() const = 0;
  /// How many of these are on disk.
  [[nodiscard]] virtual std::uint64_t kept() const = 0;

  virtual kj::Promise<Result<wire::LedgerPage>> read(wire::LedgerFilter filter) = 0;
  virtual kj::Promise<Result<wire::LedgerCheck>> verify() = 0;
};

}  // namespace sublet::manager
