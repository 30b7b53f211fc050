#pragma once

#include <span>
#include <string_view>

namespace sublet::manager::web {

/// A file of page/ or openapi.json, as part of the program.
struct Asset {
  std::string_view name;  ///< "page.css".
  const char* type;       ///< Of its content.
  std::string_view text;
};

std::span<const Asset> assets();
/// Null: there is none of that name.
const Asset* find_asset(std::string_view name);

}  // namespace sublet::manager::web
