#pragma once

#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <executor/function_table.hpp>
#include <executor/library_loader.hpp>
#include <executor/worker.hpp>
#include <topology/topology.hpp>
#include <transport/shm/shm_setup.hpp>
#include <wire/executor_packets.hpp>

#include <poll.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace sublet::executor {

/// What a new executor is made of. What it refers to lives as long as the process.
struct ExecutorStart {
  const wire::Spawn& order;
  const std::vector<topology::Cpuset>& cores;  ///< One per worker.
  const topology::Topology& topology;
  FunctionTable& functions;  ///< Empty.
  int control;               ///< The caller's: it is what a failure is reported to.
  base::Fd data;             ///< Listening.
  base::Fd accounting;
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

  /// Until the manager says stop or goes away; then the process ends with status 0, whatever its
  /// functions are doing.
  [[noreturn]] void run();

 private:
  struct Client {
    std::uint32_t worker;
    base::Fd connection;
    ServerLink link;
  };

  explicit ExecutorProcess(ExecutorStart& start);
  Result<void> start_workers(const ExecutorStart& start);
  [[nodiscard]] int poll_timeout_ms() const;
  void collect_poll_fds();
  void read_control();
  void drop_ended_clients(std::size_t first_fd);
  void open_function(wire::ReceivedMessage message);
  [[nodiscard]] Result<void> load_function(const wire::Open& open, base::Fd memory);
  [[nodiscard]] bool is_free(std::uint32_t worker) const;
  void take_client(transport::shm::Accepted accepted);

  const wire::Spawn& order_;
  FunctionTable& functions_;
  LibraryLoader libraries_;
  const int control_;
  base::SharedMemory accounting_;
  transport::shm::Listener listener_;
  std::vector<WorkerState> states_;
  std::deque<Worker> workers_;
  std::vector<Client> clients_;
  std::vector<pollfd> fds_;
};

}  // namespace sublet::executor
