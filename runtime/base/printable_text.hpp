#pragma once

#include <string>
#include <string_view>

namespace sublet::base {

/// `text` as terminals and logs can show it on one line, whoever wrote it: valid UTF-8 without
/// control characters and without what changes the direction of writing. White space becomes
/// spaces, everything else of that kind '?'.
std::string printable(std::string_view text);

}  // namespace sublet::base
