#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sublet::wire {

/// How much one user may have. Nothing: as much as there is.
struct LeaseQuota {
  std::optional<std::uint64_t> cores{};         ///< Held at one time.
  std::optional<std::uint64_t> core_seconds{};  ///< Of a day, which begins at midnight UTC.

  bool operator==(const LeaseQuota&) const = default;
};

/// A quota, and what has been used of it.
struct QuotaInfo {
  bool everybody = false;  ///< It is that of users who have none of their own; the rest is empty.
  std::uint32_t uid = ~std::uint32_t{0};
  std::string user;  ///< A name, where the manager knows one.
  bool own = false;  ///< It was set for this user.
  LeaseQuota quota{};
  std::uint64_t held_cores = 0;
  double used_core_seconds = 0;      ///< Today.
  double promised_core_seconds = 0;  ///< Today, to leases that he has.
  std::uint32_t waiting = 0;         ///< Requests.
  double share = 0;  ///< Cores held of late, as the order of requests that wait counts them.
};

/// A change of a quota.
struct QuotaOrder {
  bool everybody = false;  ///< Of users who have none of their own; else of `uid`.
  std::uint32_t uid = 0;
  bool clear = false;  ///< This user has none of his own any more.
  bool set_cores = false;
  bool set_core_seconds = false;
  LeaseQuota quota{};  ///< What is set.
};

}  // namespace sublet::wire
