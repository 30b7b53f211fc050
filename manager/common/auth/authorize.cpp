#include <common/auth/authorize.hpp>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <array>

namespace sublet::manager {
namespace {

bool is_for_all(Right right) {
  return right == Right::kLease || right == Right::kViewNodes;
}

const char* name_of(Right right) {
  switch (right) {
    case Right::kLease:
      return "lease cores";
    case Right::kViewNodes:
      return "see the nodes";
    case Right::kRegister:
      return "register a node";
    case Right::kDrain:
      return "drain a node";
    case Right::kReleaseOthers:
      return "end or extend another user's lease";
    case Right::kForget:
      return "forget a node";
    case Right::kViewOthers:
      return "see other users' leases";
    case Right::kViewLedger:
      return "see what other users have used";
    case Right::kSetQuota:
      return "set a quota";
    case Right::kPriority:
      return "ask for a priority above 0";
  }
  return "do that";
}

}  // namespace

Result<Operators> Operators::of_this_process(const std::string& group, bool insecure) {
  Operators operators;
  operators.insecure = insecure;
  operators.manager_uid = ::geteuid();
  if (group.empty()) return operators;
  std::array<char, 65536> buffer{};
  ::group entry{};
  ::group* found = nullptr;
  ::getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) {
    return fail(ErrorKind::kInvalid, "--operators is '" + group + "', which is no group here");
  }
  operators.group = group;
  operators.gid = found->gr_gid;
  std::array<char, 16384> user_buffer{};
  for (char** name = found->gr_mem; name != nullptr && *name != nullptr; ++name) {
    passwd user{};
    passwd* known = nullptr;
    ::getpwnam_r(*name, &user, user_buffer.data(), user_buffer.size(), &known);
    if (known != nullptr) operators.members.insert(known->pw_uid);
  }
  return operators;
}

bool Operators::include(const Caller& caller) const {
  if (!caller.proved()) return insecure;
  if (caller.proof == Proof::kSameProcess) return true;
  return include_user(caller.uid) || (!group.empty() && caller.gid == gid);
}

bool Operators::include_user(std::uint32_t uid) const {
  return uid == 0 || uid == manager_uid || members.contains(uid);
}

std::string Operators::to_string() const {
  std::string text = "root";
  if (manager_uid != 0) text += " and uid " + std::to_string(manager_uid);
  if (!group.empty()) text += " and the members of group " + group;
  return text;
}

Result<void> authorize(const Caller& caller, Right right, const Operators& operators) {
  if ((is_for_all(right) && caller.proved()) || operators.include(caller)) return {};
  return fail(ErrorKind::kDenied,
              sublet::manager::to_string(caller) + " may not " + name_of(right) + "; " +
                  (is_for_all(right) ? "whoever proves who he is" : operators.to_string()) +
                  " may");
}

Result<void> authorize_for(const Caller& caller, std::uint32_t owner_uid, Right right,
                           const Operators& operators) {
  if (caller.proved() && caller.uid == owner_uid) return {};
  return authorize(caller, right, operators);
}

}  // namespace sublet::manager
