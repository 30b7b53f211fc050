#include <base/account.hpp>
#include <base/system_text.hpp>

#include <pwd.h>

#include <string>
#include <vector>

namespace sublet::base {

Result<std::uint32_t> group_of_account(std::uint32_t uid) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  const int error = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) return entry.pw_gid;
  return fail(ErrorKind::kDenied,
              "the lease's owner, uid " + std::to_string(uid) + ", has no account on this node" +
                  (error == 0 ? std::string() : " (" + system_text(error) + ")") +
                  "; make one, or start the executor manager with --executor-user");
}

}  // namespace sublet::base
