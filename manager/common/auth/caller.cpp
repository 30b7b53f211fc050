#include <base/unix_socket.hpp>
#include <common/auth/caller.hpp>
#include <common/host_addresses.hpp>

#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <map>

namespace sublet::manager {

std::string to_string(const Caller& caller) {
  switch (caller.proof) {
    case Proof::kSameProcess:
      return "this process";
    case Proof::kPeerCredentials:
      return "uid " + std::to_string(caller.uid) +
             (caller.pid > 0 ? ", process " + std::to_string(caller.pid) : "");
    case Proof::kKey:
    case Proof::kMunge:
      return "uid " + std::to_string(caller.uid) + " at " + caller.host +
             (caller.proof == Proof::kKey ? " (key file)" : " (MUNGE)");
    case Proof::kNone:
      break;
  }
  if (caller.host.empty()) return "somebody unproved";
  return "network peer " + caller.host + ", unproved";
}

std::string user_name(std::uint32_t uid) {
  constexpr std::size_t kMost = 65536;
  static std::map<std::uint32_t, std::string> known;
  if (const auto found = known.find(uid); found != known.end()) return found->second;
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  std::string name = found == nullptr ? "uid " + std::to_string(uid) : std::string(found->pw_name);
  if (known.size() < kMost) known.emplace(uid, name);
  return name;
}

std::string owner_text(const Caller& caller, const std::string& said) {
  if (!caller.proved()) return said;
  const std::size_t at = said.rfind('@');
  return user_name(caller.uid) + (at == std::string::npos ? "" : said.substr(at));
}

Caller this_process() {
  return {.uid = ::getuid(),
          .gid = ::getgid(),
          .pid = ::getpid(),
          .host = {},
          .proof = Proof::kSameProcess};
}

Caller find_caller(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return {};
  if (name.ss_family == AF_UNIX) {
    const auto credentials = base::peer_credentials(fd);
    if (!credentials) return {};
    return {.uid = credentials->uid,
            .gid = credentials->gid,
            .pid = credentials->pid,
            .host = {},
            .proof = Proof::kPeerCredentials};
  }
  const std::string host = numeric_host(reinterpret_cast<const sockaddr*>(&name), length);
  if (host.empty()) return {};
  return {.uid = kUnknownUid, .gid = kUnknownGid, .pid = 0, .host = host, .proof = Proof::kNone};
}

}  // namespace sublet::manager
