#pragma once

#include <string>

namespace sublet::base {

/// strerror, and for what usually comes of a limit that limit and how to see it: "Too many open
/// files (this process may have 1024 open, ulimit -n)".
std::string system_text(int error);

/// As system_text, for an attempt to start a thread or a process: EAGAIN then means a limit.
std::string start_text(int error);

/// As system_text, for a system call that old kernels lack and system call filters refuse.
std::string call_text(const char* call, int error);

/// The size that a file of this process may have (ulimit -f), for which the system sends a signal
/// to who goes beyond it. False, with EFBIG in errno, when `size` is more.
bool may_have_file_of(unsigned long long size) noexcept;

}  // namespace sublet::base
