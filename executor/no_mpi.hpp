#pragma once

namespace sublet::executor {

/// Takes away what would make MPI_Init join the job that the manager is a part of: a function is
/// not a rank. Before the first thread.
void leave_job();

}  // namespace sublet::executor
