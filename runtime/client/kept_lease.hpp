#pragma once

#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/signing_key.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sublet::client {

class NodeLink;

/// What others know of a lease that is kept for them. Secret: whoever reads it, as the lease's
/// user, may use the lease.
struct KeptLeaseFile {
  std::uint64_t lease_id = 0;
  std::string manager;                   ///< Its address.
  wire::SigningKey::Seed holder_seed{};  ///< Of the key that the grants are for.
  std::vector<Grant> grants;

  /// A new file that this user alone may read.
  [[nodiscard]] Result<void> write(const std::string& path) const;
  /// kDenied: it is another user's, or others may read or write it; kInvalid: it is no such file.
  static Result<KeptLeaseFile> read(const std::string& path);

  /// The grants of each part.
  [[nodiscard]] std::vector<std::vector<Grant>> parts() const;
};

/// A lease that this process holds for other processes of its user: its executors run, and whoever
/// reads the file uses them, one at a time (SessionOptions::lease). It ends with this, or with the
/// process. Any thread, one at a time.
class KeptLease {
 public:
  struct Events {
    std::function<void(const EndingNotice&)> on_ending;  ///< On the session's helper thread, as is
    std::function<void(const std::string&)> on_lost;     ///< this, of the first node that is lost.
  };
  /// Asks for it and claims all of it; waits as the request says.
  static Result<KeptLease> open(const SessionOptions& options, const LeaseRequest& request,
                                Events events);
  ~KeptLease();
  KeptLease(KeptLease&&) noexcept;
  KeptLease& operator=(KeptLease&&) noexcept;

  [[nodiscard]] const KeptLeaseFile& file() const noexcept { return file_; }

 private:
  KeptLease();
  std::shared_ptr<SessionImpl> session_;
  KeptLeaseFile file_;
  std::vector<std::unique_ptr<NodeLink>> nodes_;  ///< Their ends give the lease back.
};

}  // namespace sublet::client
