#include "companion.hpp"

#include <filesystem>
#include <system_error>

namespace sublet::bench {

Result<std::string> find_companion(const std::string& name) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path prefix = folder.parent_path();
  const fs::path places[] = {prefix / SUBLET_INSTALL_LIBEXECDIR, prefix / "libexec" / "sublet",
                             folder, prefix / "lib"};
  std::string looked;
  for (const fs::path& place : places) {
    if (fs::exists(place / name, error)) return (place / name).string();
    looked += (looked.empty() ? "" : ", ") + place.string();
  }
  return fail(ErrorKind::kUnsupported,
              name + " is in none of " + looked + "; build or install all of Sublet");
}

}  // namespace sublet::bench
