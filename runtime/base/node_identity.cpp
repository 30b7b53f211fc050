#include <base/node_identity.hpp>

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <vector>

namespace sublet::base {

NodeIdentity node_identity(const std::string& configured_name) {
  NodeIdentity node;
  node.name = configured_name;
  // Slurm's own name of the node tells virtual nodes on one machine apart.
  for (const char* variable : {"SUBLET_NODE_NAME", "SLURMD_NODENAME"}) {
    if (const char* name = std::getenv(variable); node.name.empty() && name != nullptr) {
      node.name = name;
    }
  }
  if (node.name.empty()) {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) == 0) node.name = host.data();
  }
  if (node.name.empty()) node.name = "localhost";
  std::string boot_id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot_id);
  node.id = boot_id + "/" + node.name;
  return node;
}

std::string user_at_node(const NodeIdentity& node) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  std::string user = std::to_string(::getuid());
  if (::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr) {
    user = found->pw_name;
  }
  return user + "@" + node.name;
}

std::string runtime_directory() {
  if (const char* base = std::getenv("XDG_RUNTIME_DIR"); base != nullptr && *base == '/') {
    return std::string(base) + "/sublet";
  }
  return "/tmp/sublet-" + std::to_string(::getuid());
}

}  // namespace sublet::base
