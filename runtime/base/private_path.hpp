#pragma once

#include <sublet/result.hpp>

#include <string>

namespace sublet::base {

/// That `path` is a directory of this user that nobody else may enter: what is found in it is this
/// user's own. kDenied when it is not; another error, with its errno, when there is none.
Result<void> check_private_directory(const std::string& path);

}  // namespace sublet::base
