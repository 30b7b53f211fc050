#pragma once

// The log for programs: an object a line, {"time", "level", "who", "pid", "message"}. Always valid
// JSON in valid UTF-8, whatever a message holds; a line break in it is "\n".

#include <string>
#include <string_view>

namespace sublet::base {

/// From now on the process's log is written so. After init_log; the calling thread is the only one.
void log_as_json();
[[nodiscard]] bool logs_json() noexcept;

/// `text` between quotes; what is no UTF-8 becomes U+FFFD.
[[nodiscard]] std::string json_string(std::string_view text);

/// trace, debug, info, warn, error or off for the process's log. False: it is none of these.
[[nodiscard]] bool set_log_level(const std::string& level);

}  // namespace sublet::base
