#pragma once

#include <string>
#include <vector>

namespace sublet::base {

/// A shared object that this process has loaded.
struct SharedObject {
  std::string path;      ///< As the dynamic linker has found it.
  std::string build_id;  ///< In hexadecimal; empty when it was linked without one.

  [[nodiscard]] std::string name() const { return path.substr(path.rfind('/') + 1); }
};

/// All of them but the program itself and what the kernel brings.
[[nodiscard]] std::vector<SharedObject> loaded_shared_objects();

}  // namespace sublet::base
