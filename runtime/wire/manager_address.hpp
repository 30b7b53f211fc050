#pragma once

// How the resource manager is found: by an address that somebody names, else by the address file in
// a directory that all nodes share, else by this user's own socket on this node. None of them holds
// a secret.
//
// The file, DIR/manager.address, is written by `sublet resource-manager --address-dir DIR` and
// removed when it ends:
//   # sublet resource manager on HOST, process N, since 2026-01-31T12:00:00Z
//   # instance 0123456789abcdef
//   tcp:HOST:PORT
// After a crash it stays. Who reads it asks what answers at the address for its instance, and so
// never takes somebody else who has got that port for the manager.

#include <sublet/result.hpp>
#include <wire/trust.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::wire {

inline constexpr const char* kManagerAddressFile = "manager.address";

/// How the line begins that a private manager writes in place of its address when it cannot start;
/// the reason follows.
inline const std::string kPrivateManagerFailed = "error ";

/// What an address file says.
struct ManagerAddressFile {
  std::string path;
  std::string written_by;  ///< "HOST, process N, since ..."
  std::string instance;
  std::vector<std::string> addresses;  ///< At least one.

  /// kDisconnected when there is no such file (the manager has not started, or has ended),
  /// kInvalid when it cannot be read or is no address file; both say what to do.
  static Result<ManagerAddressFile> read(const std::string& directory);
  [[nodiscard]] std::string to_text() const;
};

/// A resource manager to connect to.
struct ManagerLocation {
  ManagerLocation() = default;
  ManagerLocation(std::string named) : address(std::move(named)) {}

  std::string address;
  std::string instance;  ///< What must answer there; empty: whoever does.
  std::string file;      ///< The address file it was found in, with its writer; empty: none.
  std::shared_ptr<const Trust> trust{};  ///< Of who asks there; null: what Trust::load({}) finds.

  /// "at ADDRESS", and where that is from.
  [[nodiscard]] std::string to_string() const;
  /// What to do when it does not answer.
  [[nodiscard]] std::string advice() const;
};

/// `named` and `directory` are what options and files say; empty ones are replaced by
/// $SUBLET_MANAGER and $SUBLET_MANAGER_DIR. An empty address when nobody says anything: then it is
/// this user's own socket, if any.
Result<ManagerLocation> find_manager(const std::string& named, const std::string& directory);

/// The address of this user's own manager on this node. kDenied when the directory for its socket
/// is not this user's alone: somebody else may listen there.
Result<std::string> local_manager_address();

}  // namespace sublet::wire
