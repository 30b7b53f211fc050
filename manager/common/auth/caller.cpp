#include <base/unix_socket.hpp>
#include <common/auth/caller.hpp>
#include <common/host_addresses.hpp>

#include <sys/socket.h>
#include <unistd.h>

namespace sublet::manager {

std::string to_string(const Caller& caller) {
  switch (caller.proof) {
    case Proof::kSameProcess:
      return "this process";
    case Proof::kPeerCredentials:
      return "uid " + std::to_string(caller.uid) +
             (caller.pid > 0 ? ", process " + std::to_string(caller.pid) : "");
    case Proof::kNone:
      break;
  }
  if (caller.host.empty()) return "somebody unproved";
  return "network peer " + caller.host + ", unproved";
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
