#include "agreement.hpp"
#include "attachment.hpp"
#include "creation.hpp"
#include "implementation.hpp"
#include "persistent_call.hpp"
#include "trace_file.hpp"
#include <sublet/mpi.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::mpi {

/// Shared by the handles. The attachment knows it weakly: the last handle ends the lease, and so
/// does the communicator.
struct Allocator::State final : Attached {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() override { release(); }

  void communicator_ends() noexcept override { release(); }
  [[nodiscard]] bool has_ended() const noexcept override { return released; }
  void release() noexcept {
    released = true;
    for (Lease& lease : leases) lease.release();
  }

  std::shared_ptr<Attachment> attachment;
  Session session;
  std::vector<Lease> leases;
  bool released = false;
};

namespace {

Result<void> check_usable(MPI_Comm comm) {
  if (!wrong_library().empty()) return fail(ErrorKind::kUnsupported, wrong_library());
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  if (initialized == 0) {
    return fail(ErrorKind::kInvalid,
                "leasing workers for a communicator: MPI is not initialised; call MPI_Init first");
  }
  MPI_Finalized(&finalized);
  if (finalized != 0) {
    return fail(ErrorKind::kInvalid,
                "leasing workers for a communicator: MPI has been finalised already");
  }
  if (!wrong_launcher().empty()) return fail(ErrorKind::kUnsupported, wrong_launcher());
  if (comm == MPI_COMM_NULL) {
    return fail(ErrorKind::kInvalid,
                "leasing workers for a communicator: it is MPI_COMM_NULL; ranks that a split left "
                "out must not call this");
  }
  int inter = 0;
  if (const int code = MPI_Comm_test_inter(comm, &inter); code != MPI_SUCCESS) {
    return tl::unexpected<Error>(mpi_error(code, "looking at the communicator"));
  }
  if (inter != 0) {
    return fail(ErrorKind::kInvalid,
                "leasing workers for a communicator: it is an intercommunicator; merge it with "
                "MPI_Intercomm_merge, or use the communicator of one side");
  }
  return {};
}

}  // namespace

Result<Allocator> Allocator::create(MPI_Comm comm) {
  return create(comm, AllocatorOptions());
}

Result<Allocator> Allocator::create(MPI_Comm comm, const AllocatorOptions& options) {
  if (auto usable = check_usable(comm); !usable) {
    return tl::unexpected<Error>(std::move(usable.error()));
  }
  auto attached = Attachment::of(comm);
  if (!attached) return tl::unexpected<Error>(std::move(attached.error()));

  auto created = lease_for_ranks(**attached, options);
  if (!created) return tl::unexpected<Error>(std::move(created.error()));
  auto state = std::make_shared<State>();
  state->attachment = std::move(*attached);
  state->session = std::move(created->session);
  state->leases = std::move(created->leases);
  state->attachment->add(state);
  return Allocator(std::move(state));
}

Lease& Allocator::lease(std::size_t thread) {
  if (!state_) throw Error(ErrorKind::kInvalid, "this Allocator is empty: create() makes one");
  if (thread >= state_->leases.size()) {
    throw Error(ErrorKind::kInvalid,
                "there is no lease for thread " + std::to_string(thread) + ", but for " +
                    std::to_string(state_->leases.size()) +
                    ", counted from 0: AllocatorOptions::threads_per_rank says for how many");
  }
  return state_->leases[thread];
}

Session& Allocator::session() {
  if (!state_) throw Error(ErrorKind::kInvalid, "this Allocator is empty: create() makes one");
  return state_->session;
}

void Allocator::release() {
  if (state_) state_->release();
}

Result<void> Allocator::check_open(const char* attempted) const {
  if (!state_) {
    return fail(ErrorKind::kInvalid,
                std::string(attempted) + ": this Allocator is empty: create() makes one");
  }
  if (!state_->attachment->is_open()) {
    return fail(ErrorKind::kInvalid, std::string(attempted) +
                                         ": the communicator of this Allocator has been freed, or "
                                         "MPI finalised; call this before");
  }
  return {};
}

Result<PersistentCall> Allocator::persistent_call(const Function& function, const Input& in,
                                                  const Output& out) {
  if (auto open = check_open("setting up a call"); !open) {
    return tl::unexpected<Error>(std::move(open.error()));
  }
  if (!function.valid()) {
    return fail(ErrorKind::kInvalid,
                "setting up a call: its function is empty; Lease::function() opens one");
  }
  auto state = std::make_shared<PersistentCall::State>(state_->attachment, function);
  if (auto described = state->describe(in, out); !described) {
    return tl::unexpected<Error>(std::move(described.error()));
  }
  state_->attachment->add(state);
  return PersistentCall(std::move(state));
}

Result<Reply> Allocator::call(const Function& function, const Input& in, const Output& out) {
  auto made = persistent_call(function, in, out);
  if (!made) return tl::unexpected<Error>(std::move(made.error()));
  if (auto started = made->start(); !started) {
    return tl::unexpected<Error>(std::move(started.error()));
  }
  const Reply reply = made->wait();
  if (reply.ok()) return reply;
  const bool is_lost = reply.status == Status::kLost || reply.status == Status::kClosed;
  return fail(is_lost ? ErrorKind::kDisconnected : ErrorKind::kInvalid, made->error());
}

Result<void> Allocator::write_trace(const std::string& path) {
  if (auto open = check_open("writing the timeline"); !open) return open;
  const Attachment& attachment = *state_->attachment;
  const int rank = attachment.rank();
  Outcome outcome;
  std::string events;
  outcome.attempt("collecting the timeline of rank " + std::to_string(rank), [&]() -> Result<void> {
    events = state_->session.trace_events("rank " + std::to_string(rank), rank);
    return {};
  });
  return gather_trace(attachment, outcome, events, path);
}

Result<Usage> Allocator::usage() {
  if (auto open = check_open("adding up the usage"); !open) {
    return tl::unexpected<Error>(std::move(open.error()));
  }
  const Attachment& attachment = *state_->attachment;
  const std::string who = "rank " + std::to_string(attachment.rank());
  Outcome outcome;
  Usage mine;
  outcome.attempt("asking for the usage of " + who, [&]() -> Result<void> {
    if (state_->released) {
      return fail(ErrorKind::kInvalid, who + " has released its workers; ask for usage before");
    }
    for (Lease& lease : state_->leases) {
      auto answer = lease.usage();
      if (!answer) return tl::unexpected<Error>(with_context(who, answer.error()));
      mine += *answer;
    }
    return {};
  });
  const std::array<std::uint64_t, 5> counts{mine.invocations, mine.compute_ns, mine.hot_poll_ns,
                                            mine.bytes_in, mine.bytes_out};
  std::array<std::uint64_t, 5> sums{};
  Usage total;
  outcome.note_mpi(MPI_Allreduce(counts.data(), sums.data(), static_cast<int>(counts.size()),
                                 MPI_UINT64_T, MPI_SUM, attachment.comm()),
                   "adding up the usage of all ranks");
  const std::array<double, 2> seconds{mine.core_seconds, mine.gpu_seconds};
  std::array<double, 2> summed{};
  outcome.note_mpi(MPI_Allreduce(seconds.data(), summed.data(), static_cast<int>(seconds.size()),
                                 MPI_DOUBLE, MPI_SUM, attachment.comm()),
                   "adding up the usage of all ranks");
  if (auto agreed = outcome.agree(attachment.comm()); !agreed) {
    return tl::unexpected<Error>(std::move(agreed.error()));
  }
  total.invocations = sums[0];
  total.compute_ns = sums[1];
  total.hot_poll_ns = sums[2];
  total.bytes_in = sums[3];
  total.bytes_out = sums[4];
  total.core_seconds = summed[0];
  total.gpu_seconds = summed[1];
  return total;
}

}  // namespace sublet::mpi
