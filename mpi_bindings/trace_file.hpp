#pragma once

#include "agreement.hpp"
#include "attachment.hpp"

#include <string>

namespace sublet::mpi {

/// Collective: rank 0 writes the trace events of all ranks to `path` as one Chrome trace. They come
/// to it rank by rank in pieces, so that it never holds more than one piece of another rank's.
/// `outcome` is what happened on this rank so far. The same result on every rank.
Result<void> gather_trace(const Attachment& attachment, Outcome outcome, const std::string& events,
                          const std::string& path);

}  // namespace sublet::mpi
