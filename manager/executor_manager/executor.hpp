#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/call_times.hpp>
#include <wire/executor_packets.hpp>

#include <kj/async.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::manager {

/// What an executor is started with.
struct ExecutorOrder {
  wire::Spawn spawn;        ///< All but the request number.
  std::string data_socket;  ///< Abstract name on which it takes data connections.
  std::uint64_t cgroup_bytes = 0;
  std::string image{};  ///< Of the container it runs in; empty: in none.
};

/// The client's own program, for executors to run in their place.
struct Application {
  wire::Become order{};
  std::shared_ptr<base::Fd> program;       ///< Sealed memory.
  std::shared_ptr<base::Fd> surroundings;  ///< The same; application_text.hpp.
  std::string image{};                     ///< That the program names; hostile. Empty: none.
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

/// One executor, from the order to start it until it is gone. Dropping it kills it.
///
/// STATES  starting -> ready -> ended. kReady may never come when it dies first.
/// Owner: the grant it serves, through a reference count; on the loop.
class Executor : public kj::Refcounted {
 public:
  /// Resolves once it takes connections and opens, or has ended.
  virtual kj::Promise<void> ready() = 0;

  /// Lets it run that program in its place: before anything is opened. What is ordered next waits
  /// for that.
  virtual Result<void> become(const Application& application) = 0;

  /// Loads a function. kDisconnected when the executor ends meanwhile.
  virtual kj::Promise<Result<void>> open(const wire::Open& open, int library) = 0;

  /// Opens a network listener; its address. kDisconnected when the executor ends meanwhile.
  virtual kj::Promise<Result<std::string>> listen(const std::string& transport,
                                                  const ListenPlaces& places) = 0;

  /// Resolves with how it ended once its process is gone.
  virtual kj::Promise<ExecutorFate> ended() = 0;

  [[nodiscard]] virtual bool over() const noexcept = 0;

  /// Asks it to end by itself once no call is under way. What is under way may take any time: the
  /// caller bounds it with stop().
  virtual void drain() = 0;
  /// Takes drain() back. It may end all the same: then it has begun to already.
  virtual void resume() = 0;

  /// Asks it to end, and kills it after wire::kExecutorStop.
  virtual void stop() = 0;

  /// Kills it now; `reason` is what ended() will say.
  virtual void abandon(const std::string& reason) = 0;

  /// Kills it and forgets it: its manager goes.
  virtual void drop() noexcept = 0;

  /// Summed over its workers, as far as it has counted, and no more than can have been.
  [[nodiscard]] virtual Usage usage() const = 0;
  /// How long its calls have run; likewise.
  [[nodiscard]] virtual wire::CallTimes call_times() const = 0;
};

/// Starts executors: as processes (forked_executor.hpp). A simulation has its own.
///
/// Owner: the executor manager; it outlives its executors. On the loop.
class ExecutorSource {
 public:
  virtual ~ExecutorSource() noexcept(false) = default;
  /// Clients may connect to its data socket once this has returned.
  /// The order is large: it is not copied on the way, for small stacks (ulimit -s).
  virtual Result<kj::Own<Executor>> start(ExecutorOrder&& order) = 0;
};

/// What grants need to have executors. Outlives them.
struct ExecutorServices {
  kj::Timer& timer;
  ExecutorSource& source;
};

}  // namespace sublet::manager
