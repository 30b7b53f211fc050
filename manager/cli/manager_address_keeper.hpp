#pragma once

#include <sublet/result.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::cli {

/// A resource manager's address file (wire/manager_address.hpp), removed with this object unless
/// another manager has written it since, or its directory does not answer in time.
class ManagerAddressKeeper {
 public:
  /// kDenied while another manager that wrote the file answers. `listening` are the addresses
  /// listened at; "every interface" becomes each of `hosts`, or this node's name when there are
  /// none.
  static Result<ManagerAddressKeeper> write(const std::string& directory,
                                            const std::vector<std::string>& listening,
                                            std::vector<std::string> hosts,
                                            const std::string& instance);
  ManagerAddressKeeper() = default;
  ManagerAddressKeeper(ManagerAddressKeeper&& other) noexcept
      : directory_(std::exchange(other.directory_, {})), instance_(std::move(other.instance_)) {}
  ManagerAddressKeeper& operator=(ManagerAddressKeeper&& other) noexcept {
    std::swap(directory_, other.directory_);
    std::swap(instance_, other.instance_);
    return *this;
  }
  ManagerAddressKeeper(const ManagerAddressKeeper&) = delete;
  ManagerAddressKeeper& operator=(const ManagerAddressKeeper&) = delete;
  ~ManagerAddressKeeper();

  /// What is wrong when another manager has written the file since: it took this one for dead. May
  /// hang with the file system; on any thread.
  static std::optional<std::string> taken_over(const std::string& directory,
                                               const std::string& instance);

 private:
  std::string directory_;
  std::string instance_;
};

}  // namespace sublet::cli
