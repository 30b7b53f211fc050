#include <base/shared_memory.hpp>
#include <base/system_text.hpp>
#include <cli/doctor/memory_findings.hpp>

#include <array>
#include <cerrno>
#include <fstream>
#include <span>

namespace sublet::cli {
namespace {

constexpr const char* kHugePages = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
constexpr const char* kNoExec = "/proc/sys/vm/memfd_noexec";

/// Empty: it cannot be read.
std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The word in brackets.
std::string chosen_of(const std::string& line) {
  const std::size_t open = line.find('[');
  const std::size_t close = line.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  return line.substr(open + 1, close - open - 1);
}

/// Arenas ask for them by madvise.
Finding huge_pages() {
  const std::string chosen = chosen_of(first_line(kHugePages));
  Finding finding{Grade::kOk, "huge pages", "'" + chosen + "' (" + kHugePages + ")"};
  if (chosen.empty()) {
    return {Grade::kNote, "huge pages",
            std::string("none for shared memory: ") + kHugePages + " is not there",
            "a kernel that has them (CONFIG_TRANSPARENT_HUGEPAGE)",
            "none where the kernel is given: large payloads take a few more TLB misses"};
  }
  if (chosen != "never" && chosen != "deny") return finding;
  finding.grade = Grade::kNote;
  finding.wanted = "'advise': a lease's arena then has them";
  finding.advice = std::string("'echo advise > ") + kHugePages + "' as root, at each boot";
  return finding;
}

/// By making one, as an executor manager does for each function library.
Finding executable_memory_files() {
  const std::string setting = first_line(kNoExec);
  const std::string where =
      setting.empty() ? "no vm.memfd_noexec in this kernel" : "vm.memfd_noexec is " + setting;
  constexpr std::array<std::byte, 1> kContent{};
  const auto made =
      base::SharedMemory::sealed_copy("sublet-doctor", std::span<const std::byte>(kContent));
  if (made) return {Grade::kOk, "executable memory files", "can be made (" + where + ")"};
  return {Grade::kFault, "executable memory files", made.error().what(),
          "vm.memfd_noexec 0 or 1 (" + where + ")",
          "'sysctl vm.memfd_noexec=1' as root, or in the container's settings"};
}

}  // namespace

Findings memory_findings() {
  return {huge_pages(), executable_memory_files()};
}

}  // namespace sublet::cli
