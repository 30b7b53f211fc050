#include <base/node_identity.hpp>

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

namespace sublet::base {
namespace {

std::string host_name() {
  std::array<char, 256> host{};
  return ::gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "";
}

}  // namespace

NodeIdentity node_identity(const std::string& configured_name) {
  NodeIdentity node;
  node.name = configured_name;
  const char* named = std::getenv("SUBLET_NODE_NAME");
  node.chosen = !configured_name.empty() || (named != nullptr && *named != '\0');
  // Slurm's own name of the node tells virtual nodes on one machine apart.
  for (const char* variable : {"SUBLET_NODE_NAME", "SLURMD_NODENAME"}) {
    if (const char* name = std::getenv(variable); node.name.empty() && name != nullptr) {
      node.name = name;
    }
  }
  if (node.name.empty()) node.name = host_name();
  if (node.name.empty()) node.name = "localhost";
  std::string boot_id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot_id);
  // Containers of one machine share its boot id, and may share a name. Where they share the network
  // too, their processes reach each other as those of one node do.
  struct stat network {};
  const bool known = ::stat("/proc/thread-self/ns/net", &network) == 0;
  node.id = boot_id + "." + (known ? std::to_string(network.st_ino) : "") + "." + host_name() +
            "/" + node.name;
  return node;
}

bool on_one_machine(const std::string& id, const std::string& other) {
  const std::size_t network = id.find('.') + 1;
  const std::size_t end = id.find('.', network);
  // Without a boot id nothing tells machines apart.
  return network > 1 && end != std::string::npos && other.compare(0, end + 1, id, 0, end + 1) == 0;
}

bool is_same_node(const NodeIdentity& own, const std::string& name, const std::string& id) {
  if (own.id == id) return true;
  if (own.chosen || !on_one_machine(own.id, id)) return false;
  const std::size_t end = own.id.find('/');
  if (id.compare(0, end + 1, own.id, 0, end + 1) != 0) return false;
  const std::string host = host_name();
  return own.name == host || name == host;
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

std::uint32_t slurm_job() {
  const char* const text = std::getenv("SLURM_JOB_ID");
  if (text == nullptr) return 0;
  std::uint32_t job = 0;
  const char* const end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, job);
  return error == std::errc() && stop == end ? job : 0;
}

std::string runtime_directory() {
  // Environments that are handed on (su, batch jobs, containers) name one that is not here, or
  // another user's.
  struct stat info {};
  if (const char* base = std::getenv("XDG_RUNTIME_DIR");
      base != nullptr && *base == '/' && ::stat(base, &info) == 0 && S_ISDIR(info.st_mode) &&
      info.st_uid == ::geteuid()) {
    return std::string(base) + "/sublet";
  }
  return "/tmp/sublet-" + std::to_string(::getuid());
}

}  // namespace sublet::base
