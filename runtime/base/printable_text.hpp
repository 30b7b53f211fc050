#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sublet::base {

/// `text` as terminals and logs can show it on one line, whoever wrote it: valid UTF-8 without
/// control characters and without what changes the direction of writing. White space becomes
/// spaces, everything else of that kind '?'.
std::string printable(std::string_view text);

/// How many bytes the first character of `text` has in UTF-8; 0: it is none. `text` is not empty.
std::size_t utf8_bytes(std::string_view text) noexcept;

}  // namespace sublet::base
