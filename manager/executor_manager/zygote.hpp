#pragma once

#include <executor_manager/executor_output.hpp>
#include <executor_manager/message_socket.hpp>
#include <executor_manager/zygote_process.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace sublet::manager {

/// The executor manager's side of a zygote: asks it for executors, hears how they end, starts a new
/// one when it dies (its executors die with it). One in a container is not replaced: see over().
///
/// Owner: the executor manager; on its loop.
class Zygote : private kj::TaskSet::ErrorHandler {
 public:
  struct Child {
    pid_t pid = -1;       ///< As its zygote knows it.
    pid_t pid_here = -1;  ///< As this process does; another where the zygote is in a container.
    base::Fd pidfd;       ///< None where the system refuses pidfd_open.
  };

  Zygote(kj::UnixEventPort& port, ZygoteProcess process);
  ~Zygote();
  KJ_DISALLOW_COPY(Zygote);

  /// Forks an executor. The descriptors are only used during this call.
  kj::Promise<Result<Child>> spawn(wire::Spawn order, std::span<const int> fds);

  /// How many processes it may keep ready for executors; 0 unless said.
  void allow_spares(std::uint32_t most);
  /// `told` hears how many it has, whenever that changes.
  void on_spares(std::function<void(std::uint32_t)> told) { spares_told_ = std::move(told); }

  /// Before what a dead zygote has left is ended: children of this process that are not its.
  void before_restart(std::function<void()> what) { before_restart_ = std::move(what); }

  // ---- Of one in a container ----

  /// Resolves once it takes orders, or is over.
  kj::Promise<void> ready() { return ready_.addBranch(); }
  [[nodiscard]] bool over() const noexcept { return over_; }
  [[nodiscard]] std::uint32_t spares() const noexcept { return spares_; }
  /// Kills its container and what runs there. Executors end with `reason`.
  void end_container(const std::string& reason);
  /// True once what had started the container has gone, and the container with it.
  [[nodiscard]] bool gone();
  /// Blocks until it is, or says after a while that it is not.
  void wait_until_gone();

  /// Kills the executor `pid` if it has not ended yet.
  void kill(pid_t pid);

  /// Resolves with how child `pid` ended, for people: "was killed by signal 9 (SIGKILL)". Ask once.
  kj::Promise<std::string> ended(pid_t pid);

  [[nodiscard]] double ticks_per_ns() const noexcept { return process_.ticks_per_ns; }
  [[nodiscard]] pid_t pid() const noexcept { return process_.pid; }

 private:
  void serve();
  void receive(wire::ReceivedMessage message);
  void restart();
  void container_ended();
  void end_process();
  void end_orphans() const;
  void fail_all(const std::string& reason);
  void taskFailed(kj::Exception&& exception) override;

  kj::UnixEventPort& port_;
  ZygoteProcess process_;
  std::vector<pid_t> others_;  ///< Children of this process that are none of the zygote's.
  std::unique_ptr<MessageSocket> socket_;
  std::unique_ptr<ExecutorOutput> output_;  ///< Null where executors print as this process does.
  std::uint64_t next_request_ = 1;
  std::function<void(std::uint32_t)> spares_told_ = [](std::uint32_t) {};
  std::function<void()> before_restart_ = [] {};
  kj::Own<kj::PromiseFulfiller<void>> ready_fulfiller_;
  kj::ForkedPromise<void> ready_;
  bool over_ = false;
  bool reaped_ = false;    ///< What has started the container.
  base::Fd init_;          ///< A pidfd of the zygote in its container; none until it is ready.
  std::string last_word_;  ///< Of one that could not start.
  std::uint32_t spares_ = 0;
  std::uint32_t most_spares_ = 0;
  std::map<std::uint64_t, kj::Own<kj::PromiseFulfiller<Result<Child>>>> spawning_;
  std::map<pid_t, kj::Own<kj::PromiseFulfiller<std::string>>> waiting_;
  std::map<pid_t, std::string> ended_;  ///< Ends that nobody has asked about yet.
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
