#pragma once

#include <sublet/result.hpp>

#include <sys/types.h>

#include <functional>
#include <string>

namespace sublet::base {

/// That `path` is a directory of this user that nobody else may enter: what is found in it is this
/// user's own. kDenied when it is not; another error, with its errno, when there is none.
Result<void> check_private_directory(const std::string& path);

/// That only whom `trusted` accepts can have put something at `path`: its directory is theirs, and
/// others may not write there or, where they may (/tmp), not over what is not theirs. kDenied names
/// the directory; nothing is wrong where there is none. `what` begins the error.
Result<void> check_owned_path(const std::string& path, const std::string& what,
                              const std::function<bool(uid_t)>& trusted);

}  // namespace sublet::base
