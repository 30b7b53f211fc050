#include <base/printable_text.hpp>
#include <executor_manager/container_images.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {
namespace {

constexpr std::size_t kMostName = 255;

/// What registries, names, tags and digests are written with. A name never begins like an option,
/// or a path.
bool is_image_name(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= kMostName && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return letter(c) || std::string_view("._-/:@").find(c) != std::string_view::npos;
         });
}

bool is_allowed_by(std::string_view rule, std::string_view name) {
  if (!rule.ends_with('*')) return rule == name;
  rule.remove_suffix(1);
  return name.starts_with(rule);
}

}  // namespace

Result<ContainerImages> ContainerImages::make(std::string by_default,
                                              std::vector<std::string> allowed) {
  if (!by_default.empty() && !is_image_name(by_default)) {
    return fail(ErrorKind::kInvalid, "--image is '" + base::printable(by_default) +
                                         "', which is no name of an image; it looks like "
                                         "docker.io/library/debian:12");
  }
  for (const std::string& rule : allowed) {
    const std::string_view name = std::string_view(rule).substr(0, rule.find('*'));
    const bool star_is_last = name.size() + 1 >= rule.size();
    if (is_image_name(name) && star_is_last) continue;
    return fail(ErrorKind::kInvalid, "--allow-image is '" + base::printable(rule) +
                                         "'; it must be the name of an image, or the beginning of "
                                         "names with a '*' behind it");
  }
  ContainerImages images;
  images.by_default_ = std::move(by_default);
  images.allowed_ = std::move(allowed);
  return images;
}

Result<std::string> ContainerImages::choose(const std::string& who, std::string_view named) const {
  if (named.empty() && !by_default_.empty()) return by_default_;
  if (named.empty()) {
    return fail(ErrorKind::kInvalid,
                "'" + who +
                    "' names no image, and functions run in containers on this node: name one in "
                    "it (SUBLET_IMAGE), or have the node's operator give --image");
  }
  if (!is_image_name(named)) {
    return fail(ErrorKind::kInvalid, "'" + who + "' names the image '" +
                                         base::printable(std::string(named)) +
                                         "', which is no name of an image");
  }
  const bool may = named == by_default_ ||
                   std::any_of(allowed_.begin(), allowed_.end(), [named](const std::string& rule) {
                     return is_allowed_by(rule, named);
                   });
  if (may) return std::string(named);
  return fail(ErrorKind::kDenied,
              "'" + who + "' names the image " + std::string(named) +
                  ", which this node does not allow: its operator can (--allow-image)");
}

}  // namespace sublet::manager
