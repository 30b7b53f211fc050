#pragma once

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace sublet::test {

/// For this process and what it starts: the key of the build, which lies beside its bin/.
inline void use_test_key() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto key = program.parent_path().parent_path() / "test" / "key";
  if (std::filesystem::exists(key, error)) ::setenv("SUBLET_KEY_FILE", key.c_str(), 0);
}

}  // namespace sublet::test
