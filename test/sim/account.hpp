#pragma once

#include "world.hpp"
#include <wire/ledger_page.hpp>

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sublet::sim {

/// What was really held: written down where executors start and end, without the managers' help,
/// for their ledger to be compared with.
///
/// Owner: the cluster.
class Account {
 public:
  struct Key {
    std::uint64_t lease = 0;
    std::uint32_t part = 0;
    std::string node;

    auto operator<=>(const Key&) const = default;
  };

  struct Size {
    std::size_t cores = 0;
    std::size_t gpus = 0;
  };

  explicit Account(World& world) : world_(world) {}

  /// The first executor of a grant, or the next one, in that run of its node's executor manager.
  /// Times are by the node's clock.
  void started(const Key& key, std::uint32_t run, const Size& size, Time now);
  void ended(const Key& key, Time now, std::uint64_t invocations);
  /// That run was killed: what it did not tell before, nobody will.
  void cut_off(const std::string& node, std::uint32_t run);

  /// Breaks the world when `rows`, all there are, say anything else. Once all has ended.
  void compare(const std::vector<wire::LedgerRow>& rows);

  [[nodiscard]] std::size_t grants() const noexcept { return held_.size(); }
  [[nodiscard]] std::uint64_t core_ms() const noexcept { return core_ms_; }

 private:
  struct Held {
    std::uint32_t run = 0;
    Size size{};
    Time begin{};
    std::optional<Time> end;  ///< Nothing while an executor runs.
    bool cut_off = false;
    std::uint64_t invocations = 0;
  };
  void compare(const Key& key, const Held& held, const wire::LedgerRow& row);

  World& world_;
  std::map<Key, Held> held_;
  std::uint64_t core_ms_ = 0;
};

}  // namespace sublet::sim
