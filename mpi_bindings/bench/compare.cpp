// sublet-mpi-compare: calls to a worker beside what MPI offers for the same, in one run. Writes a
// line of JSON for each row. `./dev mpi-bench compare` starts it:
//
//   mpirun -n 2 sublet-mpi-compare calls CPU_A CPU_B FUNCTIONS
//                                  rank 0 on core A; rank 1, and the worker in turn, on core B
//   mpirun -n 1 sublet-mpi-compare wide OPENMP_FUNCTIONS
//   mpirun -n 1 sublet-mpi-compare loops CPU_A CPU_B
//                                  rank 0 on core A, a worker on core B
//   mpirun -n 4 sublet-mpi-compare spawn

#include "compare_loops.hpp"
#include "compare_wide.hpp"
#include "pairs.hpp"
#include <sublet/mpi.hpp>

#include <sched.h>
#include <semaphore.h>
#include <sublet_mpi.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <string>
#include <string_view>
#include <thread>

namespace {

using sublet::mpi::bench::Clock;
using sublet::mpi::bench::Plan;
using sublet::mpi::bench::Row;

#ifdef OMPI_MAJOR_VERSION
constexpr const char* kMpi = "openmpi";
constexpr const char* kSendrecv = "openmpi sendrecv";
constexpr const char* kSpawn = "openmpi MPI_Comm_spawn";
#else
constexpr const char* kMpi = "mpich";
constexpr const char* kSendrecv = "mpich sendrecv";
constexpr const char* kSpawn = "mpich MPI_Comm_spawn";
#endif

constexpr std::size_t kWords = (std::size_t{1} << 20) / sizeof(std::uint64_t);
constexpr int kCall = 1;  ///< Tags.
constexpr int kEnd = 2;
/// An idle worker leaves core B to rank 1 after this.
constexpr const char* kHotMs = "2";
constexpr auto kUntilAsleep = std::chrono::milliseconds(4);

/// MPI's own errors end the job by themselves.
[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "sublet-mpi-compare: %s: %s\n", what, sublet_last_error());
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::abort();
}

void check(int code, const char* what) {
  if (code != SUBLET_SUCCESS) give_up(what);
}

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) give_up("the core cannot be used");
}

/// Where rank 1 sleeps, so that core B is the worker's, until it is to serve.
struct Bell {
  sem_t rung;
  int words;  ///< Of each message; 0: the end.
};

class Peer {
 public:
  Peer() {
    void* memory = nullptr;
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Win_allocate_shared(rank == 0 ? sizeof(Bell) : 0, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &memory,
                            &window_);
    if (rank == 0) {
      bell_ = new (memory) Bell{};
      ::sem_init(&bell_->rung, 1, 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Aint size = 0;
    int unit = 0;
    MPI_Win_shared_query(window_, 0, &size, &unit, &memory);
    bell_ = static_cast<Bell*>(memory);
  }
  ~Peer() { MPI_Win_free(&window_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void ring(int words) {
    bell_->words = words;
    ::sem_post(&bell_->rung);
  }

  /// Rank 1: sums up what comes, as a worker of one's own would.
  void serve() {
    std::vector<std::uint64_t> in(kWords);
    for (;;) {
      while (::sem_wait(&bell_->rung) != 0) {
      }
      if (bell_->words == 0) return;
      MPI_Status status;
      for (;;) {
        MPI_Recv(in.data(), bell_->words, MPI_UINT64_T, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
        if (status.MPI_TAG == kEnd) break;
        const std::uint64_t sum =
            std::accumulate(in.begin(), in.begin() + bell_->words, std::uint64_t{0});
        MPI_Send(&sum, 1, MPI_UINT64_T, 0, kCall, MPI_COMM_WORLD);
      }
    }
  }

 private:
  MPI_Win window_ = MPI_WIN_NULL;
  Bell* bell_ = nullptr;
};

/// A message to rank 1 and its answer.
class Messages {
 public:
  Messages(Peer& peer, std::size_t words)
      : peer_(peer), words_(static_cast<int>(words)), out_(words, 1) {}
  void begin() { peer_.ring(words_); }
  void one() {
    MPI_Send(out_.data(), words_, MPI_UINT64_T, 1, kCall, MPI_COMM_WORLD);
    MPI_Recv(&sum_, 1, MPI_UINT64_T, 1, kCall, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  void end() {
    MPI_Send(nullptr, 0, MPI_UINT64_T, 1, kEnd, MPI_COMM_WORLD);
    if (sum_ != out_.size()) give_up("rank 1 sums up wrong");
  }

 private:
  Peer& peer_;
  int words_;
  std::vector<std::uint64_t> out_;
  std::uint64_t sum_ = 0;
};

/// A worker on core B, through the C interface.
class Worker {
 public:
  Worker(int cpu, const std::string& functions) {
    MPI_Info hints = MPI_INFO_NULL;
    MPI_Info_create(&hints);
    MPI_Info_set(hints, "sublet_private_cpuset", std::to_string(cpu).c_str());
    MPI_Info_set(hints, "sublet_hot_timeout_ms", kHotMs);
    MPI_Info_set(hints, "sublet_arena_bytes", "67108864");
    check(sublet_mpi_open(MPI_COMM_SELF, 1, hints, &workers), "leasing a worker");
    MPI_Info_free(&hints);
    check(sublet_mpi_lease(workers, &lease), "the lease");
    check(sublet_function_open(lease, functions.c_str(), "noop", nullptr, &noop), "noop");
    check(sublet_function_open(lease, functions.c_str(), "sum", nullptr, &sum), "sum");
  }
  ~Worker() {
    sublet_function_free(&sum);
    sublet_function_free(&noop);
    sublet_lease_free(&lease);
    sublet_mpi_free(&workers);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  sublet_allocator* workers = nullptr;
  sublet_lease* lease = nullptr;
  sublet_function* noop = nullptr;
  sublet_function* sum = nullptr;
};

void let_the_worker_sleep() {
  std::this_thread::sleep_for(kUntilAsleep);
}

/// A call of the worker.
class Calls {
 public:
  Calls(sublet_function* function, const std::uint64_t* in, std::size_t words)
      : function_(function), in_(in), bytes_(words * sizeof *in) {}
  void begin() {}
  void one() {
    if (sublet_call(function_, in_, bytes_, &out_, sizeof out_, nullptr) != SUBLET_SUCCESS) {
      give_up("a call");
    }
  }
  void end() { let_the_worker_sleep(); }

 private:
  sublet_function* function_;
  const std::uint64_t* in_;
  std::size_t bytes_;
  std::uint64_t out_ = 0;
};

/// An asynchronous call and the wait for it: ours, or MPI's for its request.
template <bool kRequest>
class Waits {
 public:
  explicit Waits(sublet_function* function) : function_(function) {}
  ~Waits() { sublet_invocation_free(&call_); }
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;
  void begin() {}
  void one() {
    int code = sublet_call_async(function_, &in_, sizeof in_, &out_, sizeof out_, &call_);
    if constexpr (kRequest) {
      MPI_Request request = MPI_REQUEST_NULL;
      if (code == SUBLET_SUCCESS) code = sublet_mpi_request(call_, nullptr, &request);
      if (code == SUBLET_SUCCESS) code = MPI_Wait(&request, MPI_STATUS_IGNORE);
    } else {
      if (code == SUBLET_SUCCESS) code = sublet_invocation_wait(call_, nullptr);
    }
    if (code != SUBLET_SUCCESS) give_up("an asynchronous call");
  }
  void end() {}

 private:
  sublet_function* function_;
  sublet_invocation* call_ = nullptr;
  std::uint64_t in_ = 1;
  std::uint64_t out_ = 0;
};

/// Messages while there is a lease that has had requests.
class MessagesBesideALease {
 public:
  MessagesBesideALease(Peer& peer, int cpu, const std::string& functions)
      : messages_(peer, 1), cpu_(cpu), functions_(functions) {}
  void begin() {
    worker_ = std::make_unique<Worker>(cpu_, functions_);
    Waits<true>(worker_->noop).one();
    let_the_worker_sleep();
    messages_.begin();
  }
  void one() { messages_.one(); }
  void end() {
    messages_.end();
    worker_.reset();
  }

 private:
  Messages messages_;
  int cpu_;
  std::string functions_;
  std::unique_ptr<Worker> worker_;
};

void compare_calls(Peer& peer, int cpu, const std::string& functions) {
  const char* path = sublet_mpi_request_path();
  const Plan plan;
  {
    Worker worker(cpu, functions);
    const std::uint64_t one = 1;
    Calls noop(worker.noop, &one, 1);
    Messages small(peer, 1);
    compare(Row{"noop_8B", kSendrecv, {}, {}}, noop, small, plan, kMpi, path);

    void* data = nullptr;
    sublet_buffer* buffer = nullptr;
    check(sublet_buffer_create(worker.lease, kWords * sizeof(std::uint64_t), &data, &buffer),
          "a buffer");
    auto* words = static_cast<std::uint64_t*>(data);
    std::fill(words, words + kWords, 1);
    Calls sum(worker.sum, words, kWords);
    Messages large(peer, kWords);
    Plan few = plan;
    few.warmup = 4;
    few.calls_per_sample = 4;
    few.batch = std::chrono::milliseconds(10);
    compare(Row{"sum_1MiB", kSendrecv, {}, {}}, sum, large, few, kMpi, path);
    sublet_buffer_free(&buffer);

    Waits<true> request(worker.noop);
    Waits<false> native(worker.noop);
    compare(Row{"request_vs_wait", "native wait", {}, {}}, request, native, plan, kMpi, path);
  }
  Plan some = plan;
  some.pairs = 30;
  MessagesBesideALease beside(peer, cpu, functions);
  Messages alone(peer, 1);
  compare(Row{"idle_hook", "without a lease", {}, {}}, beside, alone, some, kMpi, path);
}

/// The time of `what` on all ranks, in us.
template <class What>
double collective(What&& what) {
  MPI_Barrier(MPI_COMM_WORLD);
  const auto start = Clock::now();
  what();
  double us = sublet::mpi::bench::microseconds_of(Clock::now() - start);
  MPI_Allreduce(MPI_IN_PLACE, &us, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return us;
}

void compare_spawn(char* program) {
  constexpr int kRounds = 7;
  constexpr int kProcesses = 4;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  sublet::mpi::AllocatorOptions options;
  options.session = sublet::SessionOptions::load().value_or_throw();
  options.session.private_oversubscribe = 16;
  options.memory_bytes_per_rank = options.arena_bytes = std::uint64_t{16} << 20;
  // The manager is there already, as mpirun is.
  const auto keeper = sublet::mpi::Allocator::create(MPI_COMM_WORLD, options).value_or_throw();
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  Row row{"lease_vs_spawn", kSpawn, {}, {}};
  for (int i = 0; i < sublet::mpi::bench::pairs_of(kRounds); ++i) {
    sublet::mpi::Allocator workers;
    const double ours = collective([&] {
      workers = sublet::mpi::Allocator::create(MPI_COMM_WORLD, options).value_or_throw();
    });
    workers = sublet::mpi::Allocator();
    MPI_Comm children = MPI_COMM_NULL;
    int spawned = MPI_SUCCESS;
    std::string child = "child";
    char* arguments[] = {child.data(), nullptr};
    const double spawn = collective([&] {
      spawned = MPI_Comm_spawn(program, arguments, kProcesses, MPI_INFO_NULL, 0, MPI_COMM_WORLD,
                               &children, MPI_ERRCODES_IGNORE);
    });
    if (spawned != MPI_SUCCESS) {
      if (rank == 0) std::fputs("lease_vs_spawn is left out: this MPI cannot spawn\n", stderr);
      return;
    }
    MPI_Comm_disconnect(&children);
    row.add(ours, spawn);
  }
  if (rank == 0) row.print(kMpi, "-");
}

int usage() {
  std::fputs(
      "usage: sublet-mpi-compare calls CPU_A CPU_B FUNCTIONS | wide FUNCTIONS | "
      "loops CPU_A CPU_B | spawn\n",
      stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  if (argc < 2) return usage();
  const std::string_view what = argv[1];
  MPI_Init(&argc, &argv);
  if (what == "child") {
    MPI_Comm parent = MPI_COMM_NULL;
    MPI_Comm_get_parent(&parent);
    MPI_Comm_disconnect(&parent);
    MPI_Finalize();
    return 0;
  }
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  try {
    if (what == "calls" && argc == 5 && ranks == 2) {
      pin(std::atoi(argv[2 + rank]));
      Peer peer;
      if (rank == 0) {
        compare_calls(peer, std::atoi(argv[3]), argv[4]);
        peer.ring(0);
      } else {
        peer.serve();
      }
    } else if (what == "wide" && argc == 3 && ranks == 1) {
      sublet::mpi::bench::compare_wide(argv[2], kMpi);
    } else if (what == "loops" && argc == 4 && ranks == 1) {
      pin(std::atoi(argv[2]));
      sublet::mpi::bench::compare_loops(std::atoi(argv[3]), kMpi);
    } else if (what == "spawn") {
      compare_spawn(argv[0]);
    } else {
      MPI_Finalize();
      return usage();
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sublet-mpi-compare: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
