#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <string>

namespace sublet::manager {

/// The directory in which a resource manager keeps its state, and the right to be the one manager
/// that does: a lock that ends with the process, however that ends.
class StateDirectory {
 public:
  /// Makes it with mode 0700, or checks that it is this user's and nobody else may enter. kInvalid
  /// while another resource manager has it, with that one's process id.
  static Result<StateDirectory> open(const std::string& path);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  base::Fd lock_;
};

}  // namespace sublet::manager
