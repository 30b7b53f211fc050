#pragma once

#include <sublet/result.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace sublet::manager {

/// Which images the executors of a node may run in: its operator's choice. What libraries and
/// programs name is hostile until it has been checked against it.
class ContainerImages {
 public:
  ContainerImages() = default;
  /// `by_default`: for what names no image; empty: that is refused. `allowed`: images that may be
  /// named, or beginnings of their names, which end in '*'. kInvalid says which is no such name.
  static Result<ContainerImages> make(std::string by_default, std::vector<std::string> allowed);

  [[nodiscard]] const std::string& by_default() const noexcept { return by_default_; }
  [[nodiscard]] const std::vector<std::string>& allowed() const noexcept { return allowed_; }

  /// The image for `who`, a library or program that names `named`; empty: it names none. kInvalid:
  /// there is none for it; kDenied: not that one. Both say what to do.
  [[nodiscard]] Result<std::string> choose(const std::string& who, std::string_view named) const;

 private:
  std::string by_default_;
  std::vector<std::string> allowed_;
};

}  // namespace sublet::manager
