#include <web/assets.hpp>

namespace sublet::manager::web {

const Asset* find_asset(std::string_view name) {
  for (const Asset& asset : assets()) {
    if (asset.name == name) return &asset;
  }
  return nullptr;
}

}  // namespace sublet::manager::web
