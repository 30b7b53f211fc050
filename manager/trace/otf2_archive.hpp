#pragma once

#include <sublet/result.hpp>

#include <trace/timeline.hpp>

#include <string>

namespace sublet::trace {

/// Writes an OTF2 archive, `directory`/traces.otf2 and what belongs to it, for otf2-print, Vampir
/// and the like: one location for each row, a region for each name, ENTER and LEAVE for each slice
/// of the nested timeline. kInvalid: `directory` is there already; kInternal: OTF2 says so.
Result<void> write_otf2(const Timeline& timeline, const std::string& directory);

}  // namespace sublet::trace
