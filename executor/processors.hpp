#pragma once

namespace sublet::executor {

/// In a fresh executor: from now on whoever asks the C library how many processors are online gets
/// those that the calling thread may run on.
///
/// Thread libraries count these themselves (sched_getaffinity): they are a worker's.
/// std::thread::hardware_concurrency, TBB and others ask the C library, which counts the machine's:
/// a function would start a thread for each of these on the few cores of its worker.
void count_own_processors() noexcept;

}  // namespace sublet::executor
