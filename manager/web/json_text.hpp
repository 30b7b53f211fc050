#pragma once

#include <base/printable_text.hpp>

#include <string>
#include <string_view>

namespace sublet::manager::web {

/// Appends `text` as a JSON string, whoever wrote it. For what is made again and again, and large;
/// everything else is nlohmann's.
inline void append_quoted(std::string& to, std::string_view text) {
  to += '"';
  for (const char c : base::printable(text)) {
    if (c == '"' || c == '\\') to += '\\';
    to += c;
  }
  to += '"';
}

}  // namespace sublet::manager::web
