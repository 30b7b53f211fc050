#pragma once

#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <base/unforked_memory.hpp>
#include <executor/application_functions.hpp>
#include <executor/function_table.hpp>
#include <executor/library_loader.hpp>
#include <executor/pinning.hpp>
#include <executor/sandbox.hpp>
#include <executor/watchdog.hpp>
#include <executor/worker.hpp>
#include <transport/any/any_listener.hpp>
#include <wire/executor_packets.hpp>

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace sublet::executor {

/// What a new executor is made of. What it refers to lives as long as the process.
struct ExecutorStart {
  const wire::Spawn& order;
  FunctionTable& functions;  ///< Empty.
  int control;               ///< The caller's: it is what a failure is reported to.
  base::Fd data;             ///< Listening for clients on this node.
  base::Fd accounting;
  /// When this process runs an application's program: its functions. Null: only libraries'.
  const ApplicationFunctions* application = nullptr;
};

/// The main thread of an executor: listens to its manager, lets clients connect to workers, loads
/// libraries and watches for overruns. It sleeps in poll(2) in between. Calls never pass through
/// it.
///
/// Owner: the forked child; ends with the process.
class ExecutorProcess {
 public:
  /// Makes workers ready to be connected. The error says why there is no executor.
  static Result<std::unique_ptr<ExecutorProcess>> start(ExecutorStart start);

  /// Until the manager says stop or goes away, or has said drain and nothing is left to do; then
  /// the process ends with status 0, after stop whatever its functions are doing. `limit` is in
  /// force from the first function on.
  [[noreturn]] void run(MemoryLimit limit);

 private:
  struct Client {
    std::uint32_t worker;
    const transport::AnyListener* listener;
    transport::AnyServerChannel channel;
  };

  explicit ExecutorProcess(ExecutorStart& start);
  Result<void> start_workers();
  [[nodiscard]] int poll_timeout_ms() const;
  void collect_poll_fds();
  void read_control();
  void serve_clients();
  /// Ends the process, in steps, once nothing is left to do.
  void go_on_draining();
  /// While draining: true once nothing has been running or ended for some looks in a row.
  [[nodiscard]] bool has_been_idle();
  /// No worker serves a channel.
  [[nodiscard]] bool workers_rest() const;
  [[noreturn]] void leave_drained();
  [[noreturn]] void leave_stopped();
  void resume();
  /// Runs the client's own program in place of this one.
  [[noreturn]] void become(wire::ReceivedMessage message);
  void open_function(wire::ReceivedMessage message);
  [[nodiscard]] Result<void> load_function(const wire::Open& open, base::Fd memory);
  /// Opens a network listener, or finds the one there is; its address.
  [[nodiscard]] Result<std::string> listen(const wire::Listen& listen);
  void answer_listen(const wire::ReceivedMessage& message);

  const wire::Spawn& order_;
  FunctionTable& functions_;
  LibraryLoader libraries_;
  const int control_;
  const ApplicationFunctions* const application_;
  base::Fd data_;  ///< For a program that takes this one's place, until something is opened.
  std::vector<Cores> cores_;
  MemoryLimit limit_;
  base::SharedMemory accounting_;
  std::vector<std::unique_ptr<transport::AnyListener>> listeners_;
  /// A child that a function has made, however, finds no call in them: the call is its parent's.
  std::vector<WorkerState, base::UnforkedAllocator<WorkerState>> states_;
  Watchdog watchdog_;
  std::deque<Worker> workers_;
  std::vector<Client> clients_;
  std::vector<pollfd> fds_;
  /// kRetiring: the workers have been told to take no further call.
  enum class Draining : std::uint8_t { kNo, kWatching, kRetiring };
  Draining draining_ = Draining::kNo;
  std::chrono::steady_clock::time_point looked_at_{};
  std::uint64_t ended_calls_ = 0;  ///< At the last look.
  unsigned idle_looks_ = 0;
};

}  // namespace sublet::executor
