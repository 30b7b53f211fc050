#pragma once

#include <sublet/result.hpp>

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// One container: whose executors run in it, and where.
struct ContainerPlace {
  std::string image;
  std::uint32_t uid = ~std::uint32_t{0};  ///< ~0: this process's user.
  std::uint32_t gid = ~std::uint32_t{0};  ///< Not ~0 where uid is not.
  auto operator<=>(const ContainerPlace&) const = default;
};

/// Podman with crun, and what a zygote in a container needs of this node: its program and the
/// libraries of that, which are mounted there, so that an image needs nothing of Sublet.
///
/// Owner: who starts an executor manager. Immutable.
class ContainerRuntime {
 public:
  /// Looks for all of it. kUnsupported says what is missing and what to install or set. Blocks for
  /// some milliseconds: before the loop runs.
  static Result<ContainerRuntime> find();

  /// Whether the node has the image. kInvalid says how to get it. Blocks, some 100 ms.
  [[nodiscard]] Result<void> check_image(const std::string& image) const;

  /// What starts the zygote of a container, with its socket in descriptor 3.
  [[nodiscard]] std::vector<std::string> command(const ContainerPlace& place) const;

  /// That executors see in it as it is; empty: none.
  void show_directory(std::string path) { shown_ = std::move(path); }

 private:
  std::string podman_;
  std::string executor_;
  std::string loader_;
  std::vector<std::pair<std::string, std::string>> libraries_;  ///< Name and path.
  std::vector<std::string> limits_;  ///< As this process has them when it starts.
  std::string shown_;
};

}  // namespace sublet::manager
