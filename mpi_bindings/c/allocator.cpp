// <sublet_mpi.h> over sublet::mpi::Allocator.

#include "allocator.hpp"

#include "../agreement.hpp"
#include "../creation.hpp"
#include "../implementation.hpp"
#include "error_classes.hpp"
#include "hints.hpp"

#include <sublet_mpi.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace sublet::mpi {
namespace {

struct OptionsDeleter {
  void operator()(sublet_options* options) const noexcept { sublet_options_free(&options); }
};
using Options = std::unique_ptr<sublet_options, OptionsDeleter>;

/// What a rank has to say of a communicator before anything collective can be done on it.
int check(MPI_Comm comm) {
  if (const int code = mpi_state(); code != SUBLET_SUCCESS) {
    return no_mpi(code, "MPI has been finalised already");
  }
  if (!wrong_launcher().empty()) {
    return sublet_set_last_error(SUBLET_ERR_OTHER_MPI, wrong_launcher().c_str());
  }
  if (comm == MPI_COMM_NULL) {
    return sublet_set_last_error(SUBLET_ERR_COMM,
                                 "the communicator is MPI_COMM_NULL; ranks that a split left out "
                                 "must not lease workers for it");
  }
  int inter = 0;
  if (MPI_Comm_test_inter(comm, &inter) != MPI_SUCCESS) {
    return sublet_set_last_error(SUBLET_ERR_COMM, "MPI does not know the communicator");
  }
  if (inter == 0) return SUBLET_SUCCESS;
  return sublet_set_last_error(SUBLET_ERR_INTERCOMM,
                               "the communicator is an intercommunicator; merge it with "
                               "MPI_Intercomm_merge, or use the communicator of one side");
}

/// Collective: SUBLET_SUCCESS when all ranks have asked for the same, which they have to.
int compare(MPI_Comm comm, const AllocatorOptions& options) {
  Outcome outcome;
  note_differences(comm, options, outcome);
  const auto same = outcome.agree(comm);
  if (same) return SUBLET_SUCCESS;
  return sublet_set_last_error(SUBLET_ERR_DIFFER, same.error().what());
}

/// This rank's arguments, as Allocator::create takes them. A code of <sublet/codes.h>.
int read_arguments(int workers_per_rank, MPI_Info hints, AllocatorOptions& read) {
  if (workers_per_rank <= 0) {
    return sublet_set_last_error(
        SUBLET_ERR_COUNT,
        ("'workers_per_rank' must not be " + std::to_string(workers_per_rank)).c_str());
  }
  sublet_options* made = nullptr;
  if (const int code = sublet_options_create(&made); code != SUBLET_SUCCESS) return code;
  const Options options(made);
  if (const int code = set_hints(hints, options.get(), read); code != SUBLET_SUCCESS) return code;
  auto session = c::session_options(options.get());
  if (!session) return c::failed(session.error());
  const LeaseRequest request = c::lease_request(options.get());
  read.session = std::move(*session);
  read.workers_per_rank = static_cast<std::uint32_t>(workers_per_rank);
  read.memory_bytes_per_rank = request.memory_bytes;
  read.duration = request.duration;
  read.placement = request.placement;
  read.hot_timeout = request.hot_timeout;
  read.arena_bytes = request.arena_bytes;
  read.worker_wait = request.worker_wait;
  read.cores_per_worker = request.cores_per_worker;
  read.gpus_per_worker = request.gpus_per_worker;
  read.wait = request.wait;
  read.priority = request.priority;
  read.notice = request.notice;
  return SUBLET_SUCCESS;
}

/// Collective: SUBLET_SUCCESS when all ranks say so. Else this rank's own code, or that another
/// rank's arguments are at fault.
int agree(MPI_Comm comm, int mine) {
  int lowest = mine;
  if (MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, comm) != MPI_SUCCESS) {
    return sublet_set_last_error(SUBLET_ERR_INTERNAL, "MPI could not compare the ranks' arguments");
  }
  if (mine != SUBLET_SUCCESS || lowest == SUBLET_SUCCESS) return mine;
  const std::string text =
      std::string("the arguments of another rank are at fault: ") + sublet_error_string(lowest);
  return sublet_set_last_error(SUBLET_ERR_OTHER_RANK, text.c_str());
}

}  // namespace
}  // namespace sublet::mpi

namespace {

using sublet::Error;
using sublet::Result;
using sublet::mpi::Allocator;
using sublet::mpi::Attachment;
using sublet::mpi::finish;
using sublet::mpi::with;

int open(MPI_Comm comm, int workers_per_rank, MPI_Info hints, sublet_allocator** allocator) {
  std::shared_ptr<Attachment> attachment;
  const int attached = sublet::c::guarded("preparing a communicator", [&]() -> Result<void> {
    auto made = Attachment::of(comm);
    if (!made) return tl::unexpected<Error>(std::move(made.error()));
    attachment = std::move(*made);
    return {};
  });
  if (attached != SUBLET_SUCCESS) return attached;

  // Whatever is wrong here, the other ranks are told of it.
  sublet::mpi::AllocatorOptions options;
  std::unique_ptr<sublet_allocator> made;
  int mine = SUBLET_SUCCESS;
  const int thrown = sublet::c::guarded("reading the arguments", [&]() -> Result<void> {
    mine = allocator == nullptr
               ? sublet_set_last_error(SUBLET_ERR_ARGUMENT, "the pointer 'allocator' is null")
               : sublet::mpi::read_arguments(workers_per_rank, hints, options);
    made = std::make_unique<sublet_allocator>();
    made->scope.watch = std::make_shared<sublet::mpi::Watch>();
    attachment->add(made->scope.watch);
    return {};
  });
  if (thrown != SUBLET_SUCCESS) mine = thrown;
  mine = sublet::mpi::agree(attachment->comm(), mine);
  if (mine == SUBLET_SUCCESS) mine = sublet::mpi::compare(attachment->comm(), options);
  if (mine != SUBLET_SUCCESS) return mine;

  return sublet::c::guarded("leasing workers for a communicator", [&]() -> Result<void> {
    auto created = Allocator::create(comm, options);
    if (!created) return tl::unexpected<Error>(std::move(created.error()));
    made->allocator = std::move(*created);
    made->scope.comm = comm;
    *allocator = made.release();
    return {};
  });
}

/// The one whose error handler is called.
MPI_Comm comm_of(const sublet_allocator* allocator) {
  const bool has_comm = allocator != nullptr && !allocator->scope.watch->has_ended();
  return has_comm ? allocator->scope.comm : MPI_COMM_NULL;
}

int null_argument(sublet_allocator* allocator, const char* text) {
  return finish(comm_of(allocator), sublet_set_last_error(SUBLET_ERR_ARGUMENT, text));
}

/// Collective: SUBLET_SUCCESS when all ranks have a handle, and nothing else is at fault (`mine`).
/// A rank without a handle cannot know for sure where the others wait for it; where its process has
/// leased for one communicator only, it is there.
int agree_to_begin(const sublet_allocator* allocator, int mine) {
  const int handle = sublet::mpi::check_allocator(allocator);
  if (allocator != nullptr && handle != SUBLET_SUCCESS) return handle;  // that is so on all ranks
  if (sublet::mpi::mpi_state() != SUBLET_SUCCESS) return handle;
  std::shared_ptr<Attachment> attachment;
  const int found = sublet::c::guarded("finding a communicator", [&]() -> Result<void> {
    if (allocator == nullptr) {
      attachment = Attachment::only();
      return {};
    }
    auto made = Attachment::of(allocator->scope.comm);
    if (!made) return tl::unexpected<Error>(std::move(made.error()));
    attachment = std::move(*made);
    return {};
  });
  if (found != SUBLET_SUCCESS) return found;
  if (!attachment) return handle;
  return sublet::mpi::agree(attachment->comm(), handle != SUBLET_SUCCESS ? handle : mine);
}

}  // namespace

int sublet_mpi_open(MPI_Comm comm, int workers_per_rank, MPI_Info hints,
                    sublet_allocator** allocator) {
  if (const int code = sublet::mpi::check(comm); code != SUBLET_SUCCESS) {
    return finish(code == SUBLET_ERR_INTERCOMM ? comm : MPI_COMM_NULL, code);
  }
  return finish(comm, open(comm, workers_per_rank, hints, allocator));
}

int sublet_mpi_open_fint(MPI_Fint comm, int workers_per_rank, MPI_Fint hints,
                         sublet_allocator** allocator) {
  if (sublet::mpi::mpi_state() != SUBLET_SUCCESS) {  // nothing may be converted then
    return sublet_mpi_open(MPI_COMM_NULL, workers_per_rank, MPI_INFO_NULL, allocator);
  }
  return sublet_mpi_open(MPI_Comm_f2c(comm), workers_per_rank, MPI_Info_f2c(hints), allocator);
}

int sublet_mpi_lease(sublet_allocator* allocator, sublet_lease** lease) {
  if (lease == nullptr) return null_argument(allocator, "the pointer 'lease' is null");
  return with(allocator, "asking for a lease", [&](sublet_allocator& of) -> Result<void> {
    *lease = sublet::c::make_handle(of.allocator.lease());
    return {};
  });
}

int sublet_mpi_thread_lease(sublet_allocator* allocator, int thread, sublet_lease** lease) {
  if (lease == nullptr) return null_argument(allocator, "the pointer 'lease' is null");
  if (const int code = sublet::mpi::check_allocator(allocator); code != SUBLET_SUCCESS) {
    return finish(MPI_COMM_NULL, code);
  }
  const int code = sublet::c::guarded("asking for a lease", [&]() -> Result<void> {
    *lease = sublet::c::make_handle(
        allocator->allocator.lease(static_cast<std::size_t>(std::max(thread, -1))));
    return {};
  });
  return finish(allocator->scope.comm, code == SUBLET_ERR_INVALID ? SUBLET_ERR_COUNT : code);
}

int sublet_mpi_session(sublet_allocator* allocator, sublet_session** session) {
  if (session == nullptr) return null_argument(allocator, "the pointer 'session' is null");
  return with(allocator, "asking for a session", [&](sublet_allocator& of) -> Result<void> {
    *session = sublet::c::make_handle(of.allocator.session());
    return {};
  });
}

int sublet_mpi_usage(sublet_allocator* allocator, sublet_usage* usage) {
  const int mine = usage == nullptr
                       ? sublet_set_last_error(SUBLET_ERR_ARGUMENT, "the pointer 'usage' is null")
                       : SUBLET_SUCCESS;
  if (const int code = agree_to_begin(allocator, mine); code != SUBLET_SUCCESS) {
    return finish(comm_of(allocator), code);
  }
  return with(allocator, "adding up the usage", [&](sublet_allocator& of) -> Result<void> {
    const auto sum = of.allocator.usage();
    if (!sum) return tl::unexpected<Error>(sum.error());
    *usage = {sum->invocations, sum->compute_ns,   sum->hot_poll_ns, sum->bytes_in,
              sum->bytes_out,   sum->core_seconds, sum->gpu_seconds};
    return {};
  });
}

int sublet_mpi_write_trace(sublet_allocator* allocator, const char* path) {
  if (const int code = agree_to_begin(allocator, SUBLET_SUCCESS); code != SUBLET_SUCCESS) {
    return finish(comm_of(allocator), code);
  }
  return with(allocator, "writing a timeline", [&](sublet_allocator& of) {
    return of.allocator.write_trace(path == nullptr ? "" : path);
  });
}

int sublet_mpi_release(sublet_allocator* allocator) {
  return with(allocator, "releasing workers", [&](sublet_allocator& of) -> Result<void> {
    of.allocator.release();
    return {};
  });
}

int sublet_mpi_free(sublet_allocator** allocator) {
  if (allocator == nullptr) {
    return finish(MPI_COMM_NULL,
                  sublet_set_last_error(SUBLET_ERR_ARGUMENT, "the pointer 'allocator' is null"));
  }
  delete std::exchange(*allocator, nullptr);
  return MPI_SUCCESS;
}

int sublet_mpi_error_class(int code, int* error_class) {
  if (error_class == nullptr) {
    return finish(MPI_COMM_NULL,
                  sublet_set_last_error(SUBLET_ERR_ARGUMENT, "the pointer 'error_class' is null"));
  }
  if (const int state = sublet::mpi::mpi_state(); state != SUBLET_SUCCESS) {
    return sublet::mpi::no_mpi(state, "MPI has no error classes after MPI_Finalize");
  }
  *error_class = sublet::mpi::error_class_of(code);
  return MPI_SUCCESS;
}

int sublet_mpi_code(int error) {
  return sublet::mpi::code_of_class(error);
}
