#pragma once

#include <topology/topology.hpp>

namespace sublet::executor {

/// Binds the calling thread to `cores`. Where the system refuses (a filter of system calls, a
/// cpuset that has changed) the thread stays where it may run, and the log says so once: functions
/// run all the same, only slower and beside others. In an executor.
void pin_this_thread(const topology::Topology& topology, const topology::Cpuset& cores);

}  // namespace sublet::executor
