#pragma once

#include <executor_manager/container_runtime.hpp>
#include <executor_manager/zygote.hpp>

#include <kj/async-unix.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <vector>

namespace sublet::manager {

// clang-format off
// STATES  of a container:
//           starting -> used   its zygote is ready
//           used     -> idle   its last executor has ended
//           idle     -> used   an executor is asked for
//           any      -> ending it has been idle for kKept, more are idle than may be, memory is short, none is to be
//                              kept, or it has ended by itself
//           ending   -> gone   Podman has forgotten it
// LIMITS  kKept, kStart and kLook here; `most_idle`.
// clang-format on

/// Containers with a zygote each, from which executors are forked: one for each image and user, who
/// share nothing then. One that has no executor any more is kept ready for a while.
///
/// Owner: ForkedExecutors; on the loop. Outlives what use() has given.
class ContainerPool final : private kj::TaskSet::ErrorHandler {
 public:
  /// `most_idle`: containers that are kept without executors; 0: none is.
  struct Limits {
    std::uint32_t most_idle = 0;
    std::uint32_t most_spares = 0;  ///< In each, processes that are ready to become executors.
  };
  static constexpr std::chrono::seconds kKept{300};
  static constexpr std::chrono::seconds kStart{30};
  static constexpr std::chrono::seconds kLook{1};

  /// What starts the zygote of a container (ContainerRuntime::command), and whether the node is
  /// short of memory (base::memory_is_short).
  struct Node {
    std::function<std::vector<std::string>(const ContainerPlace&)> command;
    std::function<bool()> memory_is_short;
    double ticks_per_ns = 1;
  };

  ContainerPool(kj::UnixEventPort& port, kj::Timer& timer, Node node);
  ~ContainerPool() noexcept(false);
  KJ_DISALLOW_COPY(ContainerPool);

  void limit(const Limits& limits);
  /// `told` hears how many processes are ready in all of them, when that changes.
  void on_spares(std::function<void(std::uint32_t)> told) { spares_told_ = std::move(told); }

  /// As long as one of these lives its container is used.
  class Use;
  /// Starts a container where there is none. Does not wait for it: orders do.
  Result<kj::Own<Use>> use(const ContainerPlace& place);

  /// Ends all of them and waits until they have gone: what started them are children of this
  /// process.
  void end_all();

 private:
  struct Container;
  void release(Container& container);
  void end(std::list<Container>::iterator container, const std::string& reason);
  void look();
  void tell_spares();
  kj::Promise<void> keep_looking();
  void taskFailed(kj::Exception&& exception) override;

  kj::UnixEventPort& port_;
  kj::Timer& timer_;
  const Node node_;
  Limits limits_;
  std::function<void(std::uint32_t)> spares_told_ = [](std::uint32_t) {};
  std::list<Container> containers_;
  std::list<Container> ending_;
  kj::TaskSet tasks_;
};

class ContainerPool::Use {
 public:
  Use(ContainerPool& pool, Container& container) : pool_(pool), container_(container) {}
  ~Use() noexcept(false) { pool_.release(container_); }
  KJ_DISALLOW_COPY(Use);
  [[nodiscard]] Zygote& zygote() const noexcept;

 private:
  ContainerPool& pool_;
  Container& container_;
};

}  // namespace sublet::manager
