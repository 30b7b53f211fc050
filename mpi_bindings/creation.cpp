#include "creation.hpp"

#include "agreement.hpp"
#include "grant_parcel.hpp"
#include "job_cores.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sublet::mpi {
namespace {

/// One create() under way. Every rank walks through all steps whatever goes wrong on it, because
/// each is, or is followed by, a message that others wait for.
class Creation {
 public:
  Creation(Attachment& attachment, AllocatorOptions options)
      : attachment_(attachment),
        options_(std::move(options)),
        comm_(attachment.comm()),
        rank_(attachment.rank()),
        size_(attachment.size()) {}

  Result<void> run() {
    outcome_.attempt("reading Sublet's options", [&]() -> Result<void> {
      if (auto shared = check_shares(); !shared) return shared;
      auto complete = options_.session.completed();
      if (!complete) return tl::unexpected<Error>(complete.error());
      options_.session = std::move(*complete);
      return {};
    });
    note_differences(comm_, options_, outcome_);
    attachment_.forget_ended();
    // Grants lapse when nobody claims them for some seconds: ask once all ranks are here.
    outcome_.note_mpi(MPI_Barrier(comm_), "waiting for all ranks to ask for workers");
    // Rank 0's session is opened when it is known which cores the ranks have.
    if (rank_ != 0) outcome_.attempt("preparing to claim", [this] { return open_detached(); });
    job_cores_ = gather_job_cores(comm_, created.session.holder_key(), outcome_);
    for (int attempt = 1;; ++attempt) {
      if (rank_ == 0) outcome_.attempt("asking for workers", [this] { return request_for_all(); });
      scatter();
      if (has_grants_) outcome_.attempt("claiming workers", [this] { return claim_all(); });
      auto agreed = outcome_.agree(comm_);
      if (agreed) return agreed;
      give_back();
      if (attempt == kMaxAttempts || !has_lost_a_node(agreed.error())) return agreed;
      outcome_ = Outcome();
      std::this_thread::sleep_for(kAskAgain);
    }
  }

  Created created;

 private:
  [[nodiscard]] std::uint64_t cores() const {
    return std::uint64_t{options_.workers_per_rank} * options_.cores_per_worker *
           static_cast<std::uint64_t>(size_);
  }
  [[nodiscard]] std::uint64_t oversubscribe() const {
    return std::max(options_.session.private_oversubscribe, 1u);
  }

  static constexpr int kMaxAttempts = 8;  ///< As many as for a lease without MPI.
  static constexpr auto kAskAgain = std::chrono::milliseconds(5);

  /// The same on all ranks: a node left or died between its grant and a rank's claim. Others may
  /// have room.
  [[nodiscard]] bool has_lost_a_node(const Error& agreed) const {
    return has_grants_ &&
           (agreed.kind() == ErrorKind::kDenied || agreed.kind() == ErrorKind::kDisconnected);
  }

  void give_back() {
    for (Lease& lease : created.leases) lease.release();
    created.leases.clear();
    created.session.give_back(std::exchange(granted_, {}));
  }

  [[nodiscard]] std::uint32_t threads() const { return options_.threads_per_rank; }

  /// Each thread has as many workers as the others.
  [[nodiscard]] Result<void> check_shares() const {
    const std::uint32_t shared = options_.workers_per_rank;
    if (threads() > 0 && shared % threads() == 0) return {};
    return fail(ErrorKind::kInvalid, std::to_string(shared) +
                                         " workers per rank cannot be shared by " +
                                         std::to_string(threads()) +
                                         " threads per rank: workers_per_rank must be a multiple "
                                         "of threads_per_rank, which must not be 0");
  }

  /// Rank 0's session. A private manager is to use the cores that no rank is bound to
  /// first.
  Result<Session> open_session() {
    SessionOptions options = options_.session;
    if (options.private_avoid.empty()) options.private_avoid = job_cores_.ranks;
    return Session::open(options);
  }

  /// For all ranks, a part for each of their threads.
  [[nodiscard]] LeaseRequest lease_request() const {
    LeaseRequest request;
    request.cores = options_.workers_per_rank / threads();
    request.cores_per_worker = options_.cores_per_worker;
    request.gpus_per_worker = options_.gpus_per_worker;
    request.parts = static_cast<std::uint32_t>(size_) * threads();
    request.memory_bytes = options_.memory_bytes_per_rank / threads();
    request.duration = options_.duration;
    request.placement = options_.placement;
    request.hot_timeout = options_.hot_timeout;
    request.arena_bytes = options_.arena_bytes;
    request.worker_wait = options_.worker_wait;
    request.wait = options_.wait;
    request.priority = options_.priority;
    request.notice = options_.notice;
    return request;
  }

  Result<void> request_for_all() {
    if (!is_open_) {
      auto opened = open_session();
      if (!opened) return tl::unexpected<Error>(std::move(opened.error()));
      created.session = std::move(*opened);
      is_open_ = true;
    }
    if (created.session.manager_is_private() && job_cores_.nodes > 1) return no_manager_for_nodes();

    LeaseRequest request = lease_request();
    job_cores_.holders.at(0) = created.session.holder_key();
    for (std::uint32_t part = 0; part < request.parts; ++part) {
      request.holders.push_back(job_cores_.holders.at(part / threads()));
    }
    auto grants = created.session.request(request);
    if (!grants) return tl::unexpected<Error>(refused(grants.error()));
    granted_ = *grants;
    return pack(*grants);
  }

  Error refused(const Error& why) {
    Error error = with_context("no workers for the communicator of " + std::to_string(size_) +
                                   (size_ == 1 ? " rank" : " ranks"),
                               why);
    if (!created.session.manager_is_private()) return error;
    std::uint64_t offered = 0;
    std::uint64_t free = 0;
    std::uint32_t widest = 0;
    if (const auto nodes = created.session.nodes()) {
      for (const NodeInfo& node : *nodes) {
        offered += node.cores;
        free += node.free_cores;
        widest = std::max(widest, node.widest_worker);
      }
    }
    // More of the same cores do not make a worker wider.
    if (offered == 0 || free >= cores() || options_.cores_per_worker > widest) return error;
    const std::uint64_t wanted = offered - free + cores();
    return Error(error.kind(),
                 std::string(error.what()) +
                     "; to share this node's cores, set SUBLET_PRIVATE_OVERSUBSCRIBE (or "
                     "SessionOptions::private_oversubscribe) to " +
                     std::to_string((wanted * oversubscribe() + offered - 1) / offered),
                 error.system_errno());
  }

  tl::unexpected<Error> no_manager_for_nodes() const {
    return fail(ErrorKind::kUnsupported,
                "no workers for the communicator of " + std::to_string(size_) +
                    " ranks: they run on " + std::to_string(job_cores_.nodes) +
                    " nodes, and without a resource manager rank 0 can only lease cores of its "
                    "own; start `sublet resource-manager` on one node and `sublet "
                    "executor-manager` on each (`sublet slurm template` has scripts that do), and "
                    "set SUBLET_MANAGER or SUBLET_MANAGER_DIR");
  }

  Result<void> pack(std::vector<Grant>& grants) {
    std::vector<std::vector<Grant>> by_rank(static_cast<std::size_t>(size_));
    for (Grant& grant : grants) {
      const std::size_t rank = grant.part / threads();
      if (rank >= by_rank.size()) {
        return fail(ErrorKind::kInternal, "the resource manager granted part " +
                                              std::to_string(grant.part) + " of " +
                                              std::to_string(by_rank.size() * threads()));
      }
      by_rank[rank].push_back(std::move(grant));
    }
    std::vector<std::byte> all;
    std::vector<int> sizes;
    for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
      if (by_rank[rank].empty()) {
        return fail(ErrorKind::kInternal,
                    "the resource manager granted nothing to rank " + std::to_string(rank));
      }
      const auto bytes = to_parcel(by_rank[rank]);
      all.insert(all.end(), bytes.begin(), bytes.end());
      if (all.size() > INT_MAX) {
        return fail(ErrorKind::kUnsupported, "the grants of " + std::to_string(size_) +
                                                 " ranks are too large for one MPI message");
      }
      sizes.push_back(static_cast<int>(bytes.size()));
    }
    all_ = std::move(all);
    sizes_ = std::move(sizes);
    return {};
  }

  /// Rank 0 tells each rank how long its parcel is, then sends it: nothing when it has failed.
  void scatter() {
    std::vector<int> offsets;
    if (rank_ == 0) {
      sizes_.resize(static_cast<std::size_t>(size_));
      int offset = 0;
      for (const int bytes : sizes_) {
        offsets.push_back(offset);
        offset += bytes;
      }
    }
    int mine = 0;
    outcome_.note_mpi(MPI_Scatter(sizes_.data(), 1, MPI_INT, &mine, 1, MPI_INT, 0, comm_),
                      "telling each rank the size of its grants");
    mine_.resize(static_cast<std::size_t>(mine));
    outcome_.note_mpi(MPI_Scatterv(all_.data(), sizes_.data(), offsets.data(), MPI_BYTE,
                                   mine_.data(), mine, MPI_BYTE, 0, comm_),
                      "sending each rank its grants");
    has_grants_ = mine > 0;
  }

  /// A lease for each thread, of the grants of its part.
  Result<void> claim_all() {
    auto grants = from_parcel(mine_);
    if (!grants) return tl::unexpected<Error>(std::move(grants.error()));
    std::vector<std::vector<Grant>> by_thread(threads());
    for (Grant& grant : *grants) by_thread[grant.part % threads()].push_back(std::move(grant));
    for (const auto& of_thread : by_thread) {
      if (auto claimed = claim(of_thread); !claimed) return claimed;
    }
    return {};
  }

  /// The session of a rank that only claims.
  Result<void> open_detached() {
    auto opened = Session::open_detached(options_.session);
    if (!opened) return tl::unexpected<Error>(with_context(cannot_claim(), opened.error()));
    created.session = std::move(*opened);
    is_open_ = true;
    return {};
  }

  [[nodiscard]] std::string cannot_claim() const {
    return "rank " + std::to_string(rank_) + " could not claim its workers";
  }

  Result<void> claim(const std::vector<Grant>& grants) {
    LeaseRequest request = lease_request();
    request.parts = 1;
    auto claimed = created.session.claim(grants, request);
    if (!claimed) return tl::unexpected<Error>(with_context(cannot_claim(), claimed.error()));
    created.leases.push_back(std::move(*claimed));
    return {};
  }

  Attachment& attachment_;
  AllocatorOptions options_;
  MPI_Comm comm_;
  int rank_;
  int size_;
  Outcome outcome_;
  JobCores job_cores_;          ///< Rank 0.
  std::vector<Grant> granted_;  ///< Rank 0: of all ranks.
  std::vector<int> sizes_;      ///< Rank 0: of each rank's grants in bytes.
  std::vector<std::byte> all_;  ///< Rank 0: the grants of all, one rank after the other.
  std::vector<std::byte> mine_;
  bool has_grants_ = false;
  bool is_open_ = false;  ///< The session of this rank.
};

}  // namespace

void note_differences(MPI_Comm comm, const AllocatorOptions& options, Outcome& outcome) {
  constexpr std::array kNames{"workers_per_rank", "threads_per_rank", "cores_per_worker",
                              "gpus_per_worker"};
  const std::array<std::int64_t, kNames.size()> said{
      options.workers_per_rank, options.threads_per_rank, options.cores_per_worker,
      options.gpus_per_worker};
  // The least of each number and, as -most, of its negative.
  std::array<std::int64_t, 2 * kNames.size()> mine{};
  for (std::size_t i = 0; i < said.size(); ++i) {
    mine[i] = said[i];
    mine[i + said.size()] = -said[i];
  }
  auto least = mine;
  outcome.note_mpi(MPI_Allreduce(mine.data(), least.data(), static_cast<int>(mine.size()),
                                 MPI_INT64_T, MPI_MIN, comm),
                   "comparing the options of all ranks");
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const std::int64_t most = -least[i + kNames.size()];
    if (least[i] == most) continue;
    outcome.note(
        Error(ErrorKind::kInvalid, std::string(kNames[i]) + " differs between the ranks, from " +
                                       std::to_string(least[i]) + " to " + std::to_string(most) +
                                       "; all must ask for the same"));
  }
}

Result<Created> lease_for_ranks(Attachment& attachment, const AllocatorOptions& options) {
  Creation creation(attachment, options);
  if (auto done = creation.run(); !done) return tl::unexpected<Error>(std::move(done.error()));
  return std::move(creation.created);
}

}  // namespace sublet::mpi
