#pragma once

#include "shared_cluster.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace sublet::test {

/// A cluster of root's with users who have accounts on its nodes, each with a lease. BREAK_OUT, the
/// library that their functions are in, is the test target's to define.
class Tenants : public SharedCluster {
 protected:
  /// Accounts that every Debian has.
  static constexpr uid_t kGames = 5;
  static constexpr uid_t kMan = 6;

  struct Tenant {
    Session session;
    Lease lease;
    std::uint64_t ask(const std::string& function, std::uint64_t of = 0) {
      auto bound = lease.function<std::uint64_t(std::uint64_t)>(BREAK_OUT, function);
      if (!bound) throw std::runtime_error(bound.error().what());
      return (*bound)(of).value_or_throw();
    }
  };
  Tenant tenant(const std::string& whose) {
    auto session = session_of(whose).value_or_throw();
    auto lease = session.lease(wanted_).value_or_throw();
    return {std::move(session), std::move(lease)};
  }

  LeaseRequest wanted_{.cores = 1, .arena_bytes = 1u << 20};
};

}  // namespace sublet::test
