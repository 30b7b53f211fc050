#pragma once

#include <common/grant_terms.hpp>
#include <resource_manager/lease_observer.hpp>
#include <wire/quota_info.hpp>

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace sublet::manager {

/// A row of the ledger.
struct EntryKey {
  LeaseId lease{};
  std::uint32_t part = 0;
  std::string node_id;

  auto operator<=>(const EntryKey&) const = default;
};

/// What has happened to one grant and is not written yet: the sum of its events, so that it takes
/// the same room however long the disk is away, and may be written twice.
struct EntryChange {
  struct Opening {
    GrantTerms terms;
    Time begin{};
  };
  struct Closing {
    Time end{};
    GrantEnd how = GrantEnd::kReported;
    std::string reason;
  };
  // What is set has happened in this order.
  std::optional<Opening> opened;
  bool claimed = false;
  std::optional<Time> expires;
  std::optional<Usage> usage;
  std::optional<Closing> closed;

  /// `later` happened after this.
  void add(EntryChange later);
};

/// In place of a uid.
inline constexpr std::int64_t kEverybody = -1;

/// What is written in one commit.
struct Changes {
  std::map<EntryKey, EntryChange> entries;
  std::map<std::string, NodeOffer> nodes;  ///< By their ids: those that entries name.
  std::uint64_t unused_lease = 0;          ///< 0: as it is.
  /// By uid, kEverybody for all; null: there is none any more.
  std::map<std::int64_t, std::optional<wire::LeaseQuota>> quotas{};
  std::uint64_t told = 0;  ///< Events up to the last of these.

  [[nodiscard]] bool empty() const noexcept {
    return entries.empty() && unused_lease == 0 && quotas.empty();
  }
  void add(Changes&& later);
};

}  // namespace sublet::manager
