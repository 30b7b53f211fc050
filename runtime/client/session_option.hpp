#pragma once

#include <sublet/session.hpp>

#include <string>
#include <utility>
#include <vector>

namespace sublet::client {

/// True when the configuration file may have an option of this name.
[[nodiscard]] bool is_session_option(const std::string& name);

/// All of them with what they are, for manuals.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> session_options();

/// Sets one of these. `source` says where the value was found, for the error.
Result<void> set_session_option(SessionOptions& options, const std::string& source,
                                const std::string& name, const std::string& value);

}  // namespace sublet::client
