#pragma once

#include <base/shared_memory.hpp>
#include <executor_manager/memory_limiter.hpp>
#include <executor_manager/zygote.hpp>
#include <sublet/session.hpp>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::manager {

/// What executors need of their manager. Outlives them.
struct ExecutorServices {
  kj::UnixEventPort& port;
  kj::Timer& timer;
  Zygote& zygote;
  MemoryLimiter* limiter = nullptr;  ///< Null: RLIMIT_DATA alone.
};

/// What an executor is started with.
struct ExecutorOrder {
  wire::Spawn spawn;        ///< All but the request number.
  std::string data_socket;  ///< Abstract name on which it takes data connections.
  std::uint64_t cgroup_bytes = 0;
};

/// The client's own program, for executors to run in their place.
struct Application {
  wire::Become order{};
  std::shared_ptr<base::Fd> program;       ///< Sealed memory.
  std::shared_ptr<base::Fd> surroundings;  ///< The same; application_text.hpp.
};

/// Where an executor may listen for network connections; each transport takes what suits it.
struct ListenPlaces {
  std::string host;            ///< Of this node; empty: all addresses.
  std::string device;          ///< RDMA device or address; empty: all active ports.
  std::string client_network;  ///< The address of this node at which the client came.
};

/// How an executor ended.
struct ExecutorFate {
  std::string text;  ///< For people.
  /// When it has drained: for each worker the number, in its channel, of the last call it has
  /// begun. Empty: nobody knows.
  std::vector<std::uint32_t> last_started;
  /// When it was stopped: of its workers, those that were in a call, and those of which nobody
  /// knows because it had to be killed.
  std::uint32_t in_call = 0;
  std::uint32_t unknown = 0;
  /// Of one whose program cannot be run: what is wrong with that.
  ErrorKind kind = ErrorKind::kDisconnected;
};

/// One executor process, from the order to start it until it has been reaped.
///
/// STATES  starting -> (spawned) -> ready -> ended. kReady may never come when it dies first.
/// Owner: the grant it serves, through a reference count; on the loop.
class Executor : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  /// Orders it from the zygote. Its data socket exists when this returns, so clients may connect at
  /// once.
  static Result<kj::Own<Executor>> start(const ExecutorServices& services, ExecutorOrder order);
  Executor(const ExecutorServices& services, base::SharedMemory accounting, ExecutorOrder order);
  ~Executor();
  KJ_DISALLOW_COPY(Executor);

  /// Resolves once it takes connections and opens, or has ended.
  kj::Promise<void> ready() { return ready_.addBranch(); }

  /// Lets it run that program in its place: before anything is opened. What is ordered next waits
  /// for that.
  Result<void> become(const Application& application);

  /// Loads a function. kDisconnected when the executor ends meanwhile.
  kj::Promise<Result<void>> open(const wire::Open& open, int library);

  /// Opens a network listener; its address. kDisconnected when the executor ends meanwhile.
  kj::Promise<Result<std::string>> listen(const std::string& transport, const ListenPlaces& places);

  /// Resolves with how it ended once its process is gone.
  kj::Promise<ExecutorFate> ended() { return ended_.addBranch(); }

  [[nodiscard]] bool over() const noexcept { return over_; }

  /// Asks it to end by itself once no call is under way. What is under way may take any time: the
  /// caller bounds it with stop().
  void drain();
  /// Takes drain() back. It may end all the same: then it has begun to already.
  void resume();

  /// Asks it to end, and kills it after wire::kExecutorStop.
  void stop();

  /// Kills it now; `reason` is what ended() will say.
  void abandon(const std::string& reason);

  /// Kills it and forgets it: its manager goes.
  void drop() noexcept;

  /// Summed over its workers, as far as it has counted, and no more than can have been.
  [[nodiscard]] Usage usage() const;

 private:
  void spawned(Result<Zygote::Child> child);
  kj::Promise<void> watch();
  kj::Promise<void> until_gone();
  kj::Promise<void> until_no_process(kj::TimePoint end);
  kj::Promise<void> watch_memory();
  void receive(const wire::ReceivedMessage& message);
  void end(std::string fate);
  [[nodiscard]] ExecutorFate make_fate(std::string text) const;
  [[nodiscard]] wire::WorkerCounters counters(std::uint32_t worker) const;
  void kill() noexcept;
  void taskFailed(kj::Exception&& exception) override;

  ExecutorServices services_;
  ExecutorOrder order_;
  base::SharedMemory accounting_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::unique_ptr<MessageSocket> control_;
  std::unique_ptr<MemoryLimiter::Limit> limit_;
  pid_t pid_ = -1;
  base::Fd pidfd_;
  kj::Maybe<kj::Own<kj::UnixEventPort::FdObserver>> pidfd_observer_;
  bool ready_to_serve_ = false;
  bool killed_ = false;
  bool over_ = false;
  std::string dying_words_;
  ErrorKind dying_kind_ = ErrorKind::kInternal;
  std::string becoming_;  ///< The application that it is about to run; empty: none.
  struct PendingOpen {
    std::uint16_t index;
    kj::Own<kj::PromiseFulfiller<Result<void>>> fulfiller;
  };
  std::deque<PendingOpen> opens_;  ///< In the order sent, which is the order answered.
  struct PendingListen {
    std::string transport;
    kj::Own<kj::PromiseFulfiller<Result<std::string>>> fulfiller;
  };
  std::deque<PendingListen> listens_;  ///< As opens_.
  kj::Own<kj::PromiseFulfiller<void>> ready_fulfiller_;
  kj::ForkedPromise<void> ready_;
  kj::Own<kj::PromiseFulfiller<ExecutorFate>> ended_fulfiller_;
  kj::ForkedPromise<ExecutorFate> ended_;
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
