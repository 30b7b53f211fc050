#include <base/log.hpp>
#include <common/async.hpp>
#include <executor_manager/executor_supervisor.hpp>

#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace sublet::manager {
namespace {

/// Executors that die before they are up, one after the other: then the node cannot run this grant.
constexpr unsigned kMaxEarlyDeaths = 3;

/// Fates kept for clients that ask late.
constexpr std::size_t kMaxFates = 64;

/// Beside the functions' own memory: the executor's, and pages of the client's arena that a worker
/// is the first to touch.
constexpr std::uint64_t kExecutorOverhead = std::uint64_t{64} << 20;

/// Of a lease that asked for less: for the data of its libraries.
constexpr std::uint64_t kLeastMemory = std::uint64_t{16} << 20;

std::string random_name() {
  std::array<unsigned char, 16> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  std::array<char, 2 * bytes.size() + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), bytes.data(), bytes.size());
  return std::string("sublet-executor-") + hex.data();
}

std::string joined(const std::vector<std::string>& texts, const char* between) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : between) + text;
  return all;
}

std::uint64_t sum_or_most(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  return a > kMost - std::min(b, kMost) ? kMost : a + b;
}

}  // namespace

ExecutorSupervisor::ExecutorSupervisor(NodeServices& services, const GrantTerms& terms,
                                       WorkerPlaces places, Callbacks callbacks)
    : services_(services),
      terms_(terms),
      places_(std::move(places)),
      callbacks_(std::move(callbacks)),
      tasks_(*this) {}

// ---- one executor after the other ----

Result<void> ExecutorSupervisor::start() {
  if (services_.users.any()) {
    auto user = services_.users.lend();
    if (!user) return tl::unexpected<Error>(std::move(user.error()));
    user_ = std::move(*user);
  }
  if (services_.images) image_ = services_.images->by_default();
  return start_executor();
}

Result<ExecutorOrder> ExecutorSupervisor::make_order() const {
  ExecutorOrder order;
  order.data_socket = random_name();
  order.image = image_;
  order.cgroup_bytes =
      sum_or_most(sum_or_most(terms_.memory_bytes, terms_.arena_bytes), kExecutorOverhead);
  wire::Spawn& spawn = order.spawn;
  spawn.lease_id = number(terms_.key.lease);
  spawn.part = terms_.key.part;
  spawn.generation = generation_ + 1;
  spawn.workers = static_cast<std::uint32_t>(places_.cpusets.size());
  spawn.slots = terms_.slots;
  spawn.cores_per_worker = terms_.cores_per_worker;
  spawn.memory_bytes = std::max(terms_.memory_bytes, kLeastMemory);
  // The client rounds its arena up to huge pages.
  spawn.max_arena_bytes = sum_or_most(terms_.arena_bytes, std::uint64_t{2} << 20);
  spawn.hot_timeout_ms = terms_.hot_timeout_ms;
  spawn.stack_bytes = services_.stack_bytes;
  wire::set_text(spawn.core_directory, services_.core_directory);
  spawn.uid = user_ == nullptr ? services_.uid : *user_;
  spawn.gid = user_ == nullptr ? services_.gid : *user_;
  if (services_.as_owner && terms_.owner_uid != 0 && terms_.owner_uid != kUnknownUid) {
    spawn.uid = terms_.owner_uid;
    spawn.gid = wire::kGroupOfAccount;
  }
  spawn.hidden = services_.hidden ? 1 : 0;
  spawn.token = terms_.token;
  const std::string cpusets = joined(places_.cpusets, ";");
  if (cpusets.size() >= spawn.cpusets.size()) {
    return fail(ErrorKind::kInvalid, "the names of the cores of " +
                                         std::to_string(places_.cpusets.size()) +
                                         " workers do not fit the order for an executor");
  }
  wire::set_text(spawn.cpusets, cpusets);
  wire::set_text(spawn.gpus, joined(places_.gpus, ","));
  return order;
}

Result<void> ExecutorSupervisor::start_executor() {
  auto order = make_order();
  if (!order) return tl::unexpected<Error>(order.error());
  std::string data_socket = order->data_socket;
  auto executor = services_.executors.source.start(std::move(*order));
  if (!executor) return tl::unexpected<Error>(executor.error());
  data_socket_ = std::move(data_socket);
  const std::uint32_t generation = ++generation_;
  tasks_.add((*executor)->ended().then(
      [this, generation](ExecutorFate fate) { executor_ended(generation, std::move(fate)); }));
  if (application_.program) {
    if (auto asked = (*executor)->become(application_); !asked) (*executor)->drop();
  }
  executor_ = kj::mv(*executor);
  tasks_.add(bring_up(generation));
  return {};
}

kj::Promise<void> ExecutorSupervisor::bring_up(std::uint32_t generation) {
  KJ_IF_MAYBE (executor, executor_) {
    return (*executor)
        ->ready()
        .then([this, generation, self = kj::addRef(**executor)]() mutable {
          // A claim that came before it was ready has seen to that.
          if (network_.generation == generation) return kj::Promise<void>(kj::READY_NOW);
          return listen_again(kj::mv(self), generation, 0);
        })
        .then(
            [this, self = kj::addRef(**executor)]() mutable { return open_again(kj::mv(self), 0); })
        .then([this, generation] {
          if (generation != generation_ || over() || fates_.contains(generation)) return;
          up_ = generation;
          early_deaths_ = 0;
          wake_waiters();
        });
  }
  return kj::READY_NOW;
}

void ExecutorSupervisor::executor_ended(std::uint32_t generation, ExecutorFate fate) {
  KJ_IF_MAYBE (executor, executor_) {
    past_usage_ += (*executor)->usage();
    past_times_ += (*executor)->call_times();
  }
  executor_ = nullptr;
  base::log().info("{}: executor {} ended: {}", name_of(terms_.key), generation, fate.text);
  fates_[generation] = fate;
  if (fates_.size() > kMaxFates) fates_.erase(fates_.begin());
  early_deaths_ = up_ == generation ? 0 : early_deaths_ + 1;
  if (over()) {
    become_gone();
  } else if (state_ == State::kDraining) {
    give_up(reason_);
  } else if (early_deaths_ >= kMaxEarlyDeaths ||
             generation_ - renewed_ >= wire::kMaxExecutorRestarts) {
    give_up("its executors keep ending: the last one because " + fate.text);
  } else if (auto started = start_executor(); !started) {
    give_up(std::string("no new executor could be started: ") + started.error().what());
  }
  wake_waiters();
}

void ExecutorSupervisor::give_up(const std::string& why) {
  state_ = State::kStopping;
  reason_ = why;
  callbacks_.given_up(why);
  become_gone();
}

void ExecutorSupervisor::become_gone() {
  if (state_ == State::kGone) return;
  state_ = State::kGone;
  user_.reset();
  wake_waiters();
  callbacks_.gone();
}

void ExecutorSupervisor::drain(const std::string& reason) {
  if (state_ != State::kRunning) return;
  state_ = State::kDraining;
  reason_ = reason;
}

void ExecutorSupervisor::let_end_when_idle() {
  KJ_IF_MAYBE (executor, executor_) {
    if (!over()) (*executor)->drain();
  }
}

void ExecutorSupervisor::resume() {
  if (state_ != State::kDraining) return;
  state_ = State::kRunning;
  reason_.clear();
  KJ_IF_MAYBE (executor, executor_) {
    (*executor)->resume();
  }
}

void ExecutorSupervisor::renew() {
  if (over()) return;
  functions_.clear();
  application_ = {};
  transports_.clear();
  network_ = {};
  renewed_ = generation_;
  up_ = generation_;  // its end is no early death
  KJ_IF_MAYBE (executor, executor_) {
    (*executor)->stop();
  }
}

void ExecutorSupervisor::stop(const std::string& reason) {
  if (over()) return;
  state_ = State::kStopping;
  reason_ = reason;
  wake_waiters();
  bool running = false;
  KJ_IF_MAYBE (executor, executor_) {
    running = true;
    (*executor)->stop();
  }
  if (!running) become_gone();
}

void ExecutorSupervisor::drop() noexcept {
  state_ = State::kGone;
  KJ_IF_MAYBE (executor, executor_) {
    (*executor)->drop();
  }
}

Usage ExecutorSupervisor::usage() const {
  Usage sum = past_usage_;
  KJ_IF_MAYBE (executor, executor_) {
    sum += (*executor)->usage();
  }
  return sum;
}

wire::CallTimes ExecutorSupervisor::call_times() const {
  wire::CallTimes sum = past_times_;
  KJ_IF_MAYBE (executor, executor_) {
    sum += (*executor)->call_times();
  }
  return sum;
}

// ---- where it is reached ----

kj::Promise<void> ExecutorSupervisor::open_transports(std::vector<std::string> transports,
                                                      std::string host) {
  client_host_ = std::move(host);
  transports_ = std::move(transports);
  if (transports_.empty()) return kj::READY_NOW;
  KJ_IF_MAYBE (executor, executor_) {
    return listen_again(kj::addRef(**executor), generation_, 0);
  }
  return kj::READY_NOW;
}

kj::Promise<void> ExecutorSupervisor::listen_again(kj::Own<Executor> executor,
                                                   std::uint32_t generation, std::size_t at) {
  if (at == 0 && !transports_.empty()) network_ = {generation, {}, {}};
  if (at >= transports_.size() || network_.generation != generation) return kj::READY_NOW;
  auto listening =
      executor->listen(transports_[at], {services_.data_host, services_.rdma_host, client_host_});
  return listening.then([this, executor = kj::mv(executor), generation,
                         at](Result<std::string> address) mutable -> kj::Promise<void> {
    if (network_.generation != generation) return kj::READY_NOW;
    if (address) {
      network_.addresses.emplace_back(transports_[at], std::move(*address));
    } else {
      network_.refusals.push_back("not " + transports_[at] + ": " + address.error().what());
    }
    return listen_again(kj::mv(executor), generation, at + 1);
  });
}

void ExecutorSupervisor::write_endpoint(wire::Endpoint::Builder to) const {
  to.setGeneration(generation_);
  const bool known = network_.generation == generation_;
  const std::size_t count = known ? network_.addresses.size() : 0;
  to.setLocal(data_socket_);
  auto addresses = to.initAddresses(static_cast<unsigned>(count));
  for (unsigned i = 0; i < count; ++i) {
    addresses[i].setTransport(network_.addresses[i].first);
    addresses[i].setAddress(network_.addresses[i].second);
  }
  if (!known) {
    if (early_deaths_ == 0 || fates_.empty()) return;
    to.initRefusals(1).set(0, "its executor ended: " + fates_.rbegin()->second.text);
    return;
  }
  auto refusals = to.initRefusals(static_cast<unsigned>(network_.refusals.size()));
  for (unsigned i = 0; i < refusals.size(); ++i) refusals.set(i, network_.refusals[i]);
}

// ---- its functions ----

Result<void> ExecutorSupervisor::become(Application application) {
  if (application_.program || !functions_.empty()) {
    return fail(ErrorKind::kInvalid,
                "the lease runs an application, or has functions open, already");
  }
  if (over()) return fail(ErrorKind::kDisconnected, reason_);
  const auto placed =
      is_in_place(std::string(wire::text_of(application.order.name)), application.image);
  if (!placed) return tl::unexpected<Error>(placed.error());
  application_ = std::move(application);
  if (!*placed) return {};  // the next executor becomes it
  KJ_IF_MAYBE (executor, executor_) {
    return (*executor)->become(application_);
  }
  return fail(ErrorKind::kDisconnected, "no executor runs");
}

std::shared_ptr<base::Fd> ExecutorSupervisor::program(const wire::Become& like) const {
  return application_.order.sha256 == like.sha256 ? application_.program : nullptr;
}

kj::Promise<void> ExecutorSupervisor::open_again(kj::Own<Executor> executor, std::size_t at) {
  if (at == functions_.size()) return kj::READY_NOW;
  auto opened = executor->open(functions_[at].open, functions_[at].library->get());
  return opened.then([this, executor = kj::mv(executor), at](Result<void> result) mutable {
    // One that has ended, or is about to: that is told where it is noticed.
    if (!result && (executor->over() || result.error().kind() == ErrorKind::kDisconnected)) {
      return kj::Promise<void>(kj::READY_NOW);
    }
    if (!result) {
      base::log().error("{}: opening function '{}' again: {}", name_of(terms_.key),
                        wire::text_of(functions_[at].open.name), result.error().what());
    }
    return open_again(kj::mv(executor), at + 1);
  });
}

/// A grant keeps the libraries of its functions, for the executors to come.
Result<void> ExecutorSupervisor::room_for(const FunctionRequest& request) const {
  std::set<const base::Fd*> libraries = {request.library.get()};
  for (const FunctionRequest& known : functions_) libraries.insert(known.library.get());
  std::uint64_t bytes = 0;
  for (const base::Fd* const library : libraries) {
    struct stat info {};
    if (::fstat(library->get(), &info) == 0) bytes += static_cast<std::uint64_t>(info.st_size);
  }
  if (libraries.size() <= wire::kMaxLibraries && bytes <= wire::kMaxLibrariesBytes) return {};
  return fail(ErrorKind::kOverloaded,
              "the lease would use " + std::to_string(libraries.size()) + " libraries of " +
                  std::to_string(bytes >> 20) + " MiB on this node; allowed are " +
                  std::to_string(wire::kMaxLibraries) + " of " +
                  std::to_string(wire::kMaxLibrariesBytes >> 20) + " MiB together");
}

Result<bool> ExecutorSupervisor::is_in_place(const std::string& who, const std::string& named) {
  if (!services_.images) return true;
  auto image = services_.images->choose(who, named);
  if (!image) return tl::unexpected<Error>(std::move(image.error()));
  if (*image == image_) return true;
  // Functions that are open stay where they are.
  if (application_.program || !functions_.empty()) {
    return fail(ErrorKind::kInvalid, "'" + who + "' is for containers of " + *image +
                                         ", and this lease's functions run in one of " + image_ +
                                         ": open it in another lease");
  }
  image_ = std::move(*image);
  up_ = generation_;  // its end is no early death
  KJ_IF_MAYBE (executor, executor_) {
    (*executor)->abandon("it makes room for one in a container of " + image_);
  }
  return false;
}

kj::Promise<ExecutorSupervisor::Opened> ExecutorSupervisor::open(const FunctionRequest& request) {
  if (auto room = room_for(request); !room) return Opened{tl::unexpected<Error>(room.error())};
  // An application's own functions are where it is.
  if (!application_.program) {
    const auto placed =
        is_in_place(std::string(wire::text_of(request.open.library)), request.image);
    if (!placed) return Opened{tl::unexpected<Error>(placed.error())};
    if (!*placed && !over()) {
      const std::uint32_t before = generation_;
      return replacement(before).then([this, request](Result<void> replaced) {
        if (!replaced) return kj::Promise<Opened>(Opened{std::move(replaced)});
        return open(request);
      });
    }
  }
  // A new executor gets the older functions first: should this library end it too, they were there.
  if (generation_ > 1 && !is_up() && !over()) {
    return change().then([this, request] { return open(request); });
  }
  KJ_IF_MAYBE (executor, executor_) {
    for (const FunctionRequest& known : functions_) {
      if (known.open.index != request.open.index) continue;
      return Opened{
          fail(ErrorKind::kInvalid,
               "function number " + std::to_string(request.open.index) + " is taken already")};
    }
    return open_on(kj::addRef(**executor), generation_, request);
  }
  return Opened{fail(ErrorKind::kDisconnected, over() ? reason_ : "no executor runs")};
}

kj::Promise<ExecutorSupervisor::Opened> ExecutorSupervisor::open_on(
    kj::Own<Executor> executor, std::uint32_t generation, const FunctionRequest& request) {
  auto opened = executor->open(request.open, request.library->get());
  auto recorded = opened.then(
      [this, request, generation, self = kj::addRef(*executor)](Result<void> result) -> Opened {
        // An executor that was replaced meanwhile has taken the function with it.
        if (result && generation == generation_) functions_.push_back(request);
        if (result && generation != generation_) {
          return {fail(ErrorKind::kDisconnected, "the executor was replaced meanwhile; try again")};
        }
        return {std::move(result), self->over() ? generation : 0};
      });
  return within(services_.executors.timer, wire::kLibraryLoad, kj::mv(recorded),
                "loading a library")
      .catch_([generation, stuck = kj::mv(executor)](kj::Exception&& exception) mutable {
        // It may never come out of the library's code: the next function needs another executor.
        const std::string text = text_of(exception);
        stuck->abandon(text);
        return stuck->ended().then([generation, text](const ExecutorFate&) {
          return Opened{fail(ErrorKind::kInvalid, text), generation};
        });
      });
}

// ---- what became of it ----

kj::Promise<Result<void>> ExecutorSupervisor::replacement(std::uint32_t generation) {
  if (over()) {
    return Result<void>(fail(ErrorKind::kDisconnected, "the lease has ended: " + reason_));
  }
  if (is_up() && generation_ > generation) return Result<void>();
  return change().then([this, generation] { return replacement(generation); });
}

kj::Promise<ExecutorFate> ExecutorSupervisor::fate(std::uint32_t generation) {
  if (const auto known = fates_.find(generation); known != fates_.end()) return known->second;
  // While it stops its executor still runs: the client takes an answer to mean that it does not.
  if (state_ == State::kGone) return ExecutorFate{"the lease has ended: " + reason_, {}};
  if (generation == 0 || generation > generation_ ||
      (!fates_.empty() && generation < fates_.begin()->first)) {
    return ExecutorFate{"nothing is known of it", {}};
  }
  return change().then([this, generation] { return fate(generation); });
}

kj::Promise<void> ExecutorSupervisor::change() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiting_.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

void ExecutorSupervisor::wake_waiters() {
  // They look for themselves and wait again when it is not their turn.
  for (auto& fulfiller : std::exchange(waiting_, {})) fulfiller->fulfill();
}

void ExecutorSupervisor::taskFailed(kj::Exception&& exception) {
  base::log().debug("{}: {}", name_of(terms_.key), text_of(exception));
}

}  // namespace sublet::manager
