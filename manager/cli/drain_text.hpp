#pragma once

#include <wire/drain_report.hpp>

#include <span>
#include <string>

namespace sublet::cli {

/// What became of the nodes called `node`, for people: a few lines for each, the last one without
/// its end.
std::string drain_text(const std::string& node, std::span<const wire::DrainReport> reports);

/// {"node": ..., "result": ..., "drained": [...]}, for programs.
std::string drain_json(const std::string& node, const char* result,
                       std::span<const wire::DrainReport> reports);

}  // namespace sublet::cli
