#pragma once

#include <sublet/result.hpp>

#include <string>
#include <string_view>

namespace sublet::base {

/// Writes a file so that whoever reads it sees the old content or all of the new one. The draft is
/// made beside it under a name that nobody can foresee, never through a link or over another file,
/// and is gone when this fails. The error begins with `what`, for instance "writing address file".
Result<void> replace_file(const std::string& path, std::string_view content,
                          const std::string& what);

}  // namespace sublet::base
