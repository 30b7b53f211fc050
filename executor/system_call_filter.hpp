#pragma once

#include <sublet/result.hpp>

#include <linux/filter.h>

#include <vector>

namespace sublet::executor {

/// System calls that functions have no business with: other processes' memory, mounts and
/// namespaces, the kernel's keys, modules, clocks and tracing. They fail with EPERM; those that the
/// C library does without on older kernels fail with ENOSYS. For a process and all that it starts,
/// for good.
///
/// Owner: the zygote, which makes it once; any process forked from it.
class SystemCallFilter {
 public:
  /// kUnsupported: this kernel, or a filter that is in force already, has none.
  static Result<SystemCallFilter> make();
  /// Needs no_new_privs (confine_zygote).
  [[nodiscard]] Result<void> enforce() const;

 private:
  std::vector<sock_filter> program_;
};

}  // namespace sublet::executor
