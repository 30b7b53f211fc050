#pragma once

#include <string>

namespace sublet::cli {

/// Completion of `sublet` for a shell: commands, options, and values where these are few; file
/// names elsewhere. The scripts need nothing but the shell.
[[nodiscard]] std::string bash_completion();
[[nodiscard]] std::string zsh_completion();
[[nodiscard]] std::string fish_completion();

}  // namespace sublet::cli
