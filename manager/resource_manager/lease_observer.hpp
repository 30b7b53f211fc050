#pragma once

#include <common/grant_terms.hpp>
#include <sublet/lease.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace sublet::manager {

/// How it is known that a grant has ended.
enum class GrantEnd : std::uint8_t {
  kReported,  ///< Its node said so; the usage is final.
  kNotHeld,   ///< Its node does not hold it any more; the usage is what was heard last.
  kNodeLeft,  ///< Its node said goodbye; as kNotHeld.
  kNodeLost,  ///< Its node was silent too long; as kNotHeld. It may be granted again.
};
inline constexpr std::size_t kGrantEnds = 4;

[[nodiscard]] const char* to_string(GrantEnd how) noexcept;

struct GrantEnding {
  GrantEnd how = GrantEnd::kReported;
  std::string reason{};  ///< For people; empty where only `how` is known.
  milliseconds ago{0};   ///< How long ago it ended, where its node said so.
};

/// The grant that an event is about. Valid during the call only.
struct GrantOnNode {
  const GrantTerms& terms;
  const NodeOffer& node;
};

// clang-format off
/// Is told what happens to grants, in the order in which it happens: for a ledger.
///
/// STATES  Of one grant, named by lease, part and node id:
///           granted -> [claimed] -> ended
///         `used` comes any number of times between granted and ended, and tells the whole usage so
///         far: it replaces what was told before. A grant that its node never took has no events.
///         After kNodeLost the same may begin anew, when the node returns with the grant; so it may
///         after the resource manager was started again. The usage goes on where it was. A node that
///         has not heard that an end is known tells it again: granted and ended come once more.
/// Called by the lease book on its thread, while it changes: does not call the book, does not throw.
// clang-format on
class LeaseObserver {
 public:
  virtual ~LeaseObserver() = default;

  /// The node holds it, and has for the terms' `held_for` already.
  virtual void granted(const GrantOnNode& grant) = 0;
  /// A client has it.
  virtual void claimed(const GrantOnNode& grant) = 0;
  virtual void used(const GrantOnNode& grant, const Usage& so_far) = 0;
  /// The terms have another time to end.
  virtual void extended(const GrantOnNode& grant) = 0;
  virtual void ended(const GrantOnNode& grant, const Usage& in_all, const GrantEnding& ending) = 0;
};

}  // namespace sublet::manager
