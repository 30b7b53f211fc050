#pragma once

#include <sublet/result.hpp>

#include <string>

namespace sublet::bench {

/// The path of a file that is built and installed with the `sublet` command, found relative to it:
/// libexec/sublet of an installed tree, bin or lib of a build tree. kUnsupported when not there.
Result<std::string> find_companion(const std::string& name);

}  // namespace sublet::bench
