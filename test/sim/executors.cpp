#include "executors.hpp"

#include <common/async.hpp>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

namespace sublet::sim {
namespace {

using namespace std::chrono_literals;

/// Of "0-1,4;2": 0, 1, 4 and 2.
std::vector<std::uint32_t> cores_in(std::string_view text) {
  std::vector<std::uint32_t> cores;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&] {
    std::uint32_t value = 0;
    at = std::from_chars(at, end, value).ptr;
    return value;
  };
  while (at < end) {
    const std::uint32_t first = number();
    std::uint32_t last = first;
    if (at < end && *at == '-') {
      ++at;
      last = number();
    }
    for (std::uint32_t core = first; core <= last; ++core) cores.push_back(core);
    ++at;
  }
  return cores;
}

/// Of "GPU-1,GPU-7": both.
std::vector<std::string> gpus_in(std::string_view text) {
  std::vector<std::string> gpus;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    gpus.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return gpus;
}

}  // namespace

/// One executor of a simulated node.
class SimulatedExecutor final : public manager::Executor {
 public:
  SimulatedExecutor(SimulatedExecutors& owner, const manager::ExecutorOrder& order)
      : owner_(owner),
        world_(owner.world_),
        key_{order.spawn.lease_id, order.spawn.part, owner.node_},
        workers_(order.spawn.workers),
        cores_(cores_in(wire::text_of(order.spawn.cpusets))),
        gpus_(gpus_in(wire::text_of(order.spawn.gpus))),
        started_(world_.time.elapsed()),
        ready_(nullptr),
        ended_(nullptr) {
    auto ready = kj::newPromiseAndFulfiller<void>();
    ready_fulfiller_ = kj::mv(ready.fulfiller);
    ready_ = ready.promise.fork();
    auto ended = kj::newPromiseAndFulfiller<manager::ExecutorFate>();
    ended_fulfiller_ = kj::mv(ended.fulfiller);
    ended_ = ended.promise.fork();
    take_cores();
    owner_.running_.push_back(this);
    plan();
  }
  ~SimulatedExecutor() noexcept(false) { drop(); }
  KJ_DISALLOW_COPY(SimulatedExecutor);

  kj::Promise<void> ready() override { return ready_.addBranch(); }
  Result<void> become(const manager::Application&) override { return {}; }
  kj::Promise<Result<void>> open(const wire::Open&, int) override { return Result<void>{}; }
  kj::Promise<Result<std::string>> listen(const std::string&,
                                          const manager::ListenPlaces&) override {
    return Result<std::string>(std::string("*:4711"));
  }
  kj::Promise<manager::ExecutorFate> ended() override { return ended_.addBranch(); }
  [[nodiscard]] bool over() const noexcept override { return over_; }
  void drain() override { end_after(world_.dice.between(0ms, 2000ms), "it has drained", true); }
  void resume() override {
    if (draining_) later_ = nullptr;
  }
  void stop() override { end_after(world_.dice.between(0ms, 1000ms), "it was told to", false); }
  void abandon(const std::string& reason) override { die(reason); }
  void drop() noexcept override {
    die("it was dropped");
    told_ = nullptr;
    if (std::exchange(over_, true)) return;
    owner_.account_.ended(key_, owner_.process_.clock(), usage().invocations);
  }
  [[nodiscard]] Usage usage() const override {
    Usage usage;
    const auto until = dead_ ? died_ : world_.time.elapsed();
    usage.invocations = static_cast<std::uint64_t>((until - started_) / 7ms) * workers_;
    return usage;
  }
  [[nodiscard]] wire::CallTimes call_times() const override {
    wire::CallTimes times;
    times.calls[wire::call_time_bucket(7'000'000)] = usage().invocations;
    times.total_ns = usage().invocations * 7'000'000;
    return times;
  }
  [[nodiscard]] const Account::Key& key() const noexcept { return key_; }

  void die(const std::string& text) {
    if (std::exchange(dead_, true)) return;
    died_ = world_.time.elapsed();
    for (const std::uint32_t core : cores_) {
      if (owner_.cores_.users[core] == this) owner_.cores_.users[core] = nullptr;
    }
    std::erase_if(owner_.cores_.gpu_users, [this](const auto& gpu) { return gpu.second == this; });
    std::erase(owner_.running_, this);
    world_.note(key_.node + ": an executor of lease " + std::to_string(key_.lease) +
                " ends: " + text);
    if (!owner_.process_.alive()) return;
    // Its manager notices when it runs.
    told_ = owner_.process_.timer()
                .afterDelay(manager::to_kj(world_.dice.between(20us, 2ms)))
                .then([this, text] {
                  over_ = true;
                  owner_.account_.ended(key_, owner_.process_.clock(), usage().invocations);
                  ready_fulfiller_->fulfill();
                  manager::ExecutorFate fate;
                  fate.text = text;
                  ended_fulfiller_->fulfill(std::move(fate));
                })
                .eagerlyEvaluate(nullptr);
  }

 private:
  void take_cores() {
    owner_.account_.started(key_, owner_.run_, {cores_.size(), gpus_.size()},
                            owner_.process_.clock());
    world_.note(key_.node + ": an executor of lease " + std::to_string(key_.lease) + " part " +
                std::to_string(key_.part) + " starts");
    for (const std::uint32_t core : cores_) {
      if (core >= owner_.cores_.users.size()) {
        world_.broken(key_.node + " has no core " + std::to_string(core));
        continue;
      }
      const SimulatedExecutor*& user = owner_.cores_.users[core];
      if (user != nullptr) {
        world_.broken("core " + std::to_string(core) + " of " + key_.node + " is in lease " +
                      std::to_string(user->key_.lease) + " and in lease " +
                      std::to_string(key_.lease));
      }
      user = this;
    }
    for (const std::string& gpu : gpus_) {
      const auto [user, is_free] = owner_.cores_.gpu_users.emplace(gpu, this);
      if (is_free) continue;
      world_.broken(gpu + " of " + key_.node + " is in lease " +
                    std::to_string(user->second->key_.lease) + " and in lease " +
                    std::to_string(key_.lease));
    }
  }

  void plan() {
    const bool dies_early = world_.dice.one_in(60);
    const auto until_ready =
        world_.dice.one_in(20) ? world_.dice.between(20ms, 900ms) : world_.dice.between(1ms, 20ms);
    life_ = world_.time.timer()
                .afterDelay(manager::to_kj(until_ready))
                .then([this, dies_early] {
                  if (dead_) return;
                  if (dies_early) return die("it crashed at its start");
                  // Its manager hears of it when it runs.
                  ready_told_ = owner_.process_.when_running()
                                    .then([this] { ready_fulfiller_->fulfill(); })
                                    .eagerlyEvaluate(nullptr);
                })
                .eagerlyEvaluate(nullptr);
  }

  void end_after(std::chrono::nanoseconds time, const std::string& text, bool draining) {
    if (dead_) return;
    draining_ = draining;
    later_ = world_.time.timer()
                 .afterDelay(manager::to_kj(time))
                 .then([this, text] { die(text); })
                 .eagerlyEvaluate(nullptr);
  }

  SimulatedExecutors& owner_;
  World& world_;
  Account::Key key_;
  std::uint32_t workers_;
  std::vector<std::uint32_t> cores_;
  std::vector<std::string> gpus_;
  std::chrono::nanoseconds started_;
  std::chrono::nanoseconds died_{0};
  bool dead_ = false;  ///< Its process.
  bool over_ = false;  ///< Its manager knows.
  bool draining_ = false;
  kj::Own<kj::PromiseFulfiller<void>> ready_fulfiller_;
  kj::ForkedPromise<void> ready_;
  kj::Own<kj::PromiseFulfiller<manager::ExecutorFate>> ended_fulfiller_;
  kj::ForkedPromise<manager::ExecutorFate> ended_;
  kj::Promise<void> life_ = nullptr;
  kj::Promise<void> ready_told_ = nullptr;
  kj::Promise<void> later_ = nullptr;
  kj::Promise<void> told_ = nullptr;
};

SimulatedExecutors::SimulatedExecutors(World& world, Process& process, Cores& cores,
                                       Account& account, const std::string& node, std::uint32_t run)
    : world_(world), process_(process), cores_(cores), account_(account), node_(node), run_(run) {}

Result<kj::Own<manager::Executor>> SimulatedExecutors::start(manager::ExecutorOrder&& order) {
  return kj::Own<manager::Executor>(kj::refcounted<SimulatedExecutor>(*this, order));
}

void SimulatedExecutors::kill_all() {
  account_.cut_off(node_, run_);
  while (!running_.empty()) running_.back()->die("its manager was killed");
}

bool SimulatedExecutors::crash_one() {
  if (running_.empty()) return false;
  running_[world_.dice.pick(static_cast<std::uint32_t>(running_.size()))]->die("it crashed");
  return true;
}

}  // namespace sublet::sim
