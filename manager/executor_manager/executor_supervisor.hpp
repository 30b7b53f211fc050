#pragma once

// clang-format off
// STATES  of the executor of a grant:
//           running  -> draining  drain(): it is not replaced any more
//           running  -> stopping  stop(), or it could not be replaced
//           draining -> running   resume()
//           draining -> stopping  stop(), or it has ended
//           stopping -> gone      its process is gone
//         An executor that dies while running is replaced on the same cores, and the functions
//         that were open are opened again, in the same order. Each has a generation, from 1 on. It
//         is up once its functions are open. renew() forgets those, and replaces it. Where functions run in
//         containers, what is opened first decides on the image: an executor that is in none, or in another's, is replaced.
// LIMITS  kMaxEarlyDeaths and kMaxFates here; wire::kMaxExecutorRestarts, kLibraryLoad.
// clang-format on

#include <common/grant_terms.hpp>
#include <executor_manager/core_inventory.hpp>
#include <executor_manager/node_services.hpp>
#include <wire/control.capnp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// Keeps an executor running for one grant.
///
/// Owner: the grant; on the loop. Its callbacks are called from the loop, and must not destroy it.
class ExecutorSupervisor final : private kj::TaskSet::ErrorHandler {
 public:
  struct Callbacks {
    /// There will be no further executor: this has drained, or none can be kept alive. The state is
    /// stopping.
    std::function<void(const std::string& why)> given_up;
    /// The state has become gone. Called once.
    std::function<void()> gone;
  };

  ExecutorSupervisor(NodeServices& services, const GrantTerms& terms, WorkerPlaces places,
                     Callbacks callbacks);
  KJ_DISALLOW_COPY(ExecutorSupervisor);

  /// Orders the first executor.
  Result<void> start();

  [[nodiscard]] const WorkerPlaces& places() const noexcept { return places_; }
  /// Of all executors so far; without the time that cores were held.
  [[nodiscard]] Usage usage() const;
  [[nodiscard]] wire::CallTimes call_times() const;

  /// Lets this executor and those that replace it take connections over `transports` too. Resolves
  /// once it does, or has said why not. `host` is the address of this node that its client used.
  kj::Promise<void> open_transports(std::vector<std::string> transports, std::string host);
  void write_endpoint(wire::Endpoint::Builder to) const;

  /// From now on executors run this program; the one there is goes on as it. kInvalid when one does
  /// already, or functions are open.
  Result<void> become(Application application);
  /// Null when no such program is run.
  [[nodiscard]] std::shared_ptr<base::Fd> program(const wire::Become& like) const;

  struct FunctionRequest {
    wire::Open open{};
    std::shared_ptr<base::Fd> library;
    std::string image{};  ///< That the library names; hostile. Empty: none.
  };
  struct Opened {
    Result<void> result;
    std::uint32_t ended_generation = 0;  ///< Of the executor that loading the library has ended.
  };
  kj::Promise<Opened> open(const FunctionRequest& request);

  /// Resolves once the newest executor is up and newer than `generation`, or none will be.
  kj::Promise<Result<void>> replacement(std::uint32_t generation);
  /// Of the newest executor that has ended, if one has.
  [[nodiscard]] const ExecutorFate* last_fate() const noexcept {
    return fates_.empty() ? nullptr : &fates_.rbegin()->second;
  }
  /// Resolves with how the executor of `generation` ended.
  kj::Promise<ExecutorFate> fate(std::uint32_t generation);

  /// From now on an executor that ends is not replaced; `reason` is what given_up will say then.
  void drain(const std::string& reason);
  /// Asks it to end by itself once no call is under way.
  void let_end_when_idle();
  /// Takes drain() back: an executor that ends is replaced again, one that is about to as well.
  void resume();
  /// Forgets all that its client has opened and asked for, and puts a new executor in the place of
  /// the one that has seen it.
  void renew();
  /// The one that has seen it has not ended yet.
  [[nodiscard]] bool renewing() const noexcept { return renewed_ == generation_ && !over(); }
  /// Idempotent. `reason` is what waiting clients are told.
  void stop(const std::string& reason);
  /// Kills the executor and forgets it: the manager goes.
  void drop() noexcept;

 private:
  enum class State : std::uint8_t { kRunning, kDraining, kStopping, kGone };

  /// Where the executor of `generation` is reached by networks.
  struct Network {
    std::uint32_t generation = 0;
    std::vector<std::pair<std::string, std::string>> addresses;  ///< Transport and address.
    std::vector<std::string> refusals;
  };
  [[nodiscard]] bool over() const noexcept { return state_ >= State::kStopping; }
  [[nodiscard]] bool is_up() const noexcept { return generation_ != 0 && up_ == generation_; }
  /// Whether the executor is where what names this image may run: else a new one is on its way, in
  /// a container of it.
  Result<bool> is_in_place(const std::string& who, const std::string& named);
  Result<ExecutorOrder> make_order() const;
  Result<void> start_executor();
  void executor_ended(std::uint32_t generation, ExecutorFate fate);
  void give_up(const std::string& why);
  void become_gone();
  [[nodiscard]] Result<void> room_for(const FunctionRequest& request) const;
  kj::Promise<void> bring_up(std::uint32_t generation);
  kj::Promise<void> listen_again(kj::Own<Executor> executor, std::uint32_t generation,
                                 std::size_t at);
  kj::Promise<Opened> open_on(kj::Own<Executor> executor, std::uint32_t generation,
                              const FunctionRequest& request);
  kj::Promise<void> open_again(kj::Own<Executor> executor, std::size_t at);
  kj::Promise<void> change();
  void wake_waiters();
  void taskFailed(kj::Exception&& exception) override;

  NodeServices& services_;
  const GrantTerms& terms_;
  WorkerPlaces places_;
  Callbacks callbacks_;
  State state_ = State::kRunning;
  std::string reason_;  ///< Of draining, stopping and gone.

  std::uint32_t generation_ = 0;  ///< Of the newest executor ordered.
  std::uint32_t up_ = 0;          ///< Of the newest executor that has been up.
  std::uint32_t renewed_ = 0;     ///< Of the last one that its client's end has stopped.
  unsigned early_deaths_ = 0;     ///< Executors in a row that ended before they were up.
  std::shared_ptr<const std::uint32_t> user_;  ///< Lent for all its executors; null: none.
  kj::Maybe<kj::Own<Executor>> executor_;
  std::string data_socket_;
  std::string image_;  ///< Of the container executors run in; empty: none yet, or in none at all.
  std::vector<std::string> transports_;  ///< Beside shm, as the client asked for them.
  std::string client_host_;
  Network network_;
  std::vector<FunctionRequest> functions_;
  Application application_;  ///< Without a program: none.
  std::map<std::uint32_t, ExecutorFate> fates_;
  Usage past_usage_;                                          ///< Of executors that have ended.
  wire::CallTimes past_times_;                                ///< Of their calls.
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_;  ///< For any change.
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
