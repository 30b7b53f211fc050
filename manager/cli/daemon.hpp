#pragma once

#include <sublet/result.hpp>

#include <kj/async-io.h>

#include <string>
#include <vector>

namespace sublet::cli {

/// The event loop of a daemon and the signals that end it: SIGTERM, SIGINT and SIGHUP.
///
/// Owner: the command's function; made before the process has a second thread, after the zygote has
/// been forked (which must not inherit the blocked signals). One per process.
class Daemon {
 public:
  Daemon();

  [[nodiscard]] kj::AsyncIoContext& io() { return io_; }
  [[nodiscard]] kj::Timer& timer() { return io_.provider->getTimer(); }
  [[nodiscard]] kj::WaitScope& wait_scope() { return io_.waitScope; }

  /// Resolves with the name of the first signal that asks the daemon to end.
  kj::Promise<std::string> stop_signal();

 private:
  kj::AsyncIoContext io_;
};

/// A file that names where a daemon listens, one address per line; complete from its first moment,
/// and removed with this object.
class AddressFile {
 public:
  static Result<AddressFile> write(const std::string& path,
                                   const std::vector<std::string>& addresses);
  AddressFile() = default;
  AddressFile(AddressFile&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  AddressFile& operator=(AddressFile&& other) noexcept {
    path_.swap(other.path_);
    return *this;
  }
  AddressFile(const AddressFile&) = delete;
  AddressFile& operator=(const AddressFile&) = delete;
  ~AddressFile();

 private:
  std::string path_;
};

}  // namespace sublet::cli
