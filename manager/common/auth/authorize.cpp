#include <common/auth/authorize.hpp>

namespace sublet::manager {
namespace {

/// How well it must be proved who asks.
Proof needed_for(Right right) {
  switch (right) {
    case Right::kLease:
      return Proof::kNone;
    case Right::kDrain:
    case Right::kRelease:
    case Right::kForget:
    case Right::kViewNodes:
    case Right::kViewLeases:
    case Right::kViewLedger:
      return needed_for(Right::kLease);
  }
  return Proof::kSameProcess;  // a right that is not one
}

const char* name_of(Right right) {
  switch (right) {
    case Right::kLease:
      return "lease cores";
    case Right::kDrain:
      return "drain a node";
    case Right::kRelease:
      return "end a lease";
    case Right::kForget:
      return "forget a node";
    case Right::kViewNodes:
      return "see the nodes";
    case Right::kViewLeases:
      return "see the leases";
    case Right::kViewLedger:
      return "see the ledger";
  }
  return "do that";
}

}  // namespace

Result<void> authorize(const Caller& caller, Right right) {
  if (caller.proof >= needed_for(right)) return {};
  return fail(ErrorKind::kDenied, to_string(caller) + " may not " + name_of(right));
}

}  // namespace sublet::manager
