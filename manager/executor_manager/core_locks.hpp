#pragma once

#include <base/fd.hpp>

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace sublet::manager {

/// Which cores of this machine the private managers of one user pin workers to. Each offers all
/// cores that its application may use, and knows nothing of the others: without this, the first
/// worker of every job would be pinned to the first core.
///
/// One byte of a file in the user's runtime directory stands for one core or GPU, and is locked
/// (OFD locks) while a worker is pinned there, or has it. The system drops the locks of a process
/// that ends, however it does. Without such a file everything can be had. Owner: the executor
/// manager; on its loop.
class CoreLocks {
 public:
  explicit CoreLocks(const std::string& directory);

  /// False while another manager has it. `cpuset` in list syntax; its first processor counts.
  [[nodiscard]] bool lock(const std::string& cpuset) noexcept;
  void unlock(const std::string& cpuset) noexcept;
  [[nodiscard]] bool lock_gpu(const std::string& uuid) noexcept;
  void unlock_gpu(const std::string& uuid) noexcept;

 private:
  [[nodiscard]] bool set(off_t byte, short type) noexcept;
  base::Fd file_;
};

}  // namespace sublet::manager
