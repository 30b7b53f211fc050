#pragma once

// Logging for people: to stderr, through spdlog. SUBLET_LOG sets the level (trace, debug, info,
// warn, error, off; default warn in applications, info in daemons). The function that first decides
// an error logs it; callers pass it on. Never on the path of an invocation.

#include <spdlog/spdlog.h>

#include <memory>
#include <string>

namespace sublet::base {

/// Sets up the process's logger under `name` with `default_level` unless SUBLET_LOG says otherwise.
/// Call once, early; before it, logging goes to a default logger at level warn.
void init_log(const std::string& name, spdlog::level::level_enum default_level);

/// Sublet's logger; never null. It is not spdlog's default logger: that belongs to the application.
spdlog::logger& log();

}  // namespace sublet::base
