#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace sublet::manager {

inline constexpr std::uint32_t kUnknownUid = ~std::uint32_t{0};
inline constexpr std::uint32_t kUnknownGid = ~std::uint32_t{0};

/// How it was proved who asks.
enum class Proof : std::uint8_t {
  kNone,             ///< It was not: a network peer of a manager that runs with --insecure.
  kKey,              ///< By the key file that it shares with this manager: its owner's.
  kMunge,            ///< By MUNGE, for a user of the cluster.
  kPeerCredentials,  ///< By the kernel: a process of this node, over a Unix socket.
  kSameProcess,      ///< It is this process.
};

/// Who asks a manager for something. A value, without I/O: find_caller() makes it.
struct Caller {
  std::uint32_t uid = kUnknownUid;  ///< Known only with a proof.
  std::uint32_t gid = kUnknownGid;
  pid_t pid = 0;     ///< Of who connected; known as the user is, 0 where it is not.
  std::string host;  ///< Network address it comes from; empty: this node.
  Proof proof = Proof::kNone;

  [[nodiscard]] bool proved() const noexcept { return proof != Proof::kNone; }
};

/// For logs and refusals: "uid 1000, process 4711", "uid 1000 at 10.0.0.7 (MUNGE)", "this process",
/// "network peer 10.0.0.7, unproved".
std::string to_string(const Caller& caller);

/// The name of that user, or "uid N" where it has none. What was found once is remembered.
std::string user_name(std::uint32_t uid);

/// "user@node", where only the node is what the caller `said` of itself, if it is known who it is.
std::string owner_text(const Caller& caller, const std::string& said);

Caller this_process();

/// Whoever is at the other end of the connected socket `fd`.
Caller find_caller(int fd);

}  // namespace sublet::manager
