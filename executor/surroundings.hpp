#pragma once

// What a function finds around it: the same on every node, however its manager was started.

#include <cstdint>
#include <string_view>

namespace sublet::executor {

/// In the zygote, first of all: every signal at its default and none blocked, whatever the parent
/// ignores; an empty standard input; a working directory that exists; no variables that would bind
/// threads, or take functions for processes of the manager's MPI job.
void prepare_surroundings();

/// For executors of many users, after that: the root directory and umask 022. The environment is
/// such from the start (start_zygote).
void leave_manager();

/// HOME and the like are those of user `uid` from now on. In the zygote: it may ask the network.
void use_home_of(std::uint32_t uid);

/// In a fresh executor, while it has one thread: OpenMP starts a thread for each of a worker's
/// `cores`, and lines of standard output leave at their end.
void adapt_to_cores(std::uint32_t cores);

/// What runs here finds the GPUs of this list, UUIDs with commas between, and no others: none when
/// it is empty.
void show_gpus(std::string_view list);

/// Stays in the working directory where this user can, and in / where not.
void enter_usable_directory();

}  // namespace sublet::executor
