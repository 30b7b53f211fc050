#include <base/system_text.hpp>
#include <executor/become.hpp>
#include <executor/executor_process.hpp>
#include <executor/fatal.hpp>
#include <executor/sandbox.hpp>
#include <executor/watchdog.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace sublet::executor {
namespace {

using namespace std::chrono_literals;

/// An executor that drains looks so often, and takes no further calls when so many looks in a row
/// have found nothing to do: a client that heard of it sends nothing more, and what it had sent has
/// been answered. What comes later all the same was never begun, and its client learns that.
constexpr auto kIdleLook = 10ms;
constexpr unsigned kIdleLooks = 5;

/// Longer timeouts cannot matter, and their nanoseconds would not fit 64 bits.
constexpr std::uint64_t kLongestTimeoutMs = std::uint64_t{10} * 365 * 24 * 3600 * 1000;

base::Ticks hot_ticks(std::int64_t hot_timeout_ms) {
  if (hot_timeout_ms < 0) return std::numeric_limits<base::Ticks>::max();
  const auto ms =
      std::min<std::int64_t>(hot_timeout_ms, static_cast<std::int64_t>(kLongestTimeoutMs));
  return base::TickRate::get().from(std::chrono::milliseconds(ms));
}

transport::ListenOptions listen_options(const wire::Spawn& order) {
  return {.token = order.token,
          .generation = order.generation,
          .workers = order.workers,
          .max_slots = order.slots,
          .max_arena_bytes = order.max_arena_bytes,
          .mostly_warm = order.hot_timeout_ms == 0};
}

[[noreturn]] void end_well() {
  leave_the_end_to_a_crash();
  flush_output();
  ::_exit(0);
}

}  // namespace

ExecutorProcess::ExecutorProcess(ExecutorStart& start)
    : order_(start.order),
      functions_(start.functions),
      control_(start.control),
      application_(start.application),
      states_(start.order.workers),
      watchdog_(states_) {}

Result<std::unique_ptr<ExecutorProcess>> ExecutorProcess::start(ExecutorStart start) {
  std::unique_ptr<ExecutorProcess> process(new ExecutorProcess(start));
  auto cores = read_cores(wire::text_of(start.order.cpusets));
  if (!cores) return tl::unexpected<Error>(cores.error());
  process->cores_ = std::move(*cores);
  if (process->cores_.size() != start.order.workers) {
    return fail(ErrorKind::kInvalid, "the order names cores for another number of workers");
  }
  if (start.application == nullptr) {
    process->data_.reset(::fcntl(start.data.get(), F_DUPFD_CLOEXEC, 0));
  }
  auto listener =
      transport::listen_on_this_node(std::move(start.data), listen_options(start.order));
  if (!listener) return tl::unexpected<Error>(listener.error());
  process->listeners_.push_back(std::move(*listener));
  auto accounting = base::SharedMemory::map(std::move(start.accounting),
                                            start.order.workers * sizeof(wire::WorkerCounters));
  if (!accounting) return tl::unexpected<Error>(accounting.error());
  process->accounting_ = std::move(*accounting);
  auto started = process->start_workers();
  if (started) return process;
  // Threads of it may run: from here on it can only end with the process.
  (void)process.release();
  return tl::unexpected<Error>(started.error());
}

Result<void> ExecutorProcess::start_workers() {
  const auto memory = WorkerMemory::make(
      order_.workers, order_.stack_bytes == 0 ? kWorkerStack : order_.stack_bytes);
  if (!memory) return tl::unexpected<Error>(memory.error());
  blame_workers(states_);
  auto* counters = reinterpret_cast<wire::WorkerCounters*>(accounting_.data());
  for (std::uint32_t i = 0; i < order_.workers; ++i) {
    WorkerState& state = states_[i];
    state.functions = &functions_;
    state.counters = counters + i;
    state.rate = base::TickRate::get();
    state.hot_ticks = hot_ticks(order_.hot_timeout_ms);
    state.memory_bytes = order_.memory_bytes;
    state.index = i;
    Worker& worker = workers_.emplace_back(state);
    if (auto started = worker.start(*memory, cores_[i]); !started) {
      return started;
    }
  }
  return {};
}

void ExecutorProcess::run(MemoryLimit limit) {
  limit_ = limit;
  for (;;) {
    collect_poll_fds();
    ::poll(fds_.data(), fds_.size(), poll_timeout_ms());
    if (const auto period = watchdog_period(functions_.shortest_timeout()); period > 0ms) {
      watchdog_.look(base::ticks(), base::TickRate::get().from(period));
    }
    // The manager first: when it says stop, nothing else matters.
    if (fds_[0].revents != 0) read_control();
    if (draining_ != Draining::kNo) go_on_draining();
    if (draining_ != Draining::kRetiring) serve_clients();
  }
}

void ExecutorProcess::go_on_draining() {
  if (draining_ == Draining::kWatching && has_been_idle()) {
    draining_ = Draining::kRetiring;
    for (const Client& client : clients_) transport::retire(client.channel);
  }
  if (draining_ == Draining::kRetiring && workers_rest()) leave_drained();
}

bool ExecutorProcess::workers_rest() const {
  return std::all_of(states_.begin(), states_.end(), [](const WorkerState& state) {
    return state.channel.load(std::memory_order_acquire) == nullptr;
  });
}

void ExecutorProcess::leave_drained() {
  clients_.clear();  // a channel that ends waits for its last replies to arrive
  for (const WorkerState& state : states_) {
    state.counters->last_started = state.sequence.load(std::memory_order_relaxed);
    state.counters->drained = 1;
  }
  end_well();
}

void ExecutorProcess::leave_stopped() {
  for (const WorkerState& state : states_) {
    const bool in_call = state.running.load(std::memory_order_relaxed) != nullptr;
    state.counters->stopped =
        in_call ? wire::WorkerCounters::kStoppedInCall : wire::WorkerCounters::kStoppedIdle;
  }
  end_well();
}

void ExecutorProcess::resume() {
  if (draining_ != Draining::kWatching) return;  // its workers have been told to take no more calls
  draining_ = Draining::kNo;
  idle_looks_ = 0;
}

int ExecutorProcess::poll_timeout_ms() const {
  const auto period = watchdog_period(functions_.shortest_timeout());
  int shortest = period == 0ms ? -1 : static_cast<int>(period.count());
  const int look = static_cast<int>(kIdleLook.count());
  if (draining_ != Draining::kNo && (shortest < 0 || look < shortest)) shortest = look;
  for (const auto& listener : listeners_) {
    const int limit = listener->poll_timeout_ms();
    if (limit >= 0 && (shortest < 0 || limit < shortest)) shortest = limit;
  }
  return shortest;
}

void ExecutorProcess::collect_poll_fds() {
  fds_.clear();
  fds_.push_back({control_, POLLIN, 0});
  for (const auto& listener : listeners_) listener->append_poll_fds(fds_);
}

void ExecutorProcess::read_control() {
  auto message = wire::receive_message(control_);
  if (!message) end_well();
  if (message->type == wire::MessageType::kStop) leave_stopped();
  if (message->type == wire::MessageType::kDrain) {
    if (draining_ == Draining::kNo) draining_ = Draining::kWatching;
    return;
  }
  if (message->type == wire::MessageType::kResume) {
    resume();
    return;
  }
  if (message->type == wire::MessageType::kBecome) become(std::move(*message));
  data_.reset();  // no program takes this one's place any more
  // Both may take long: a library's constructors, a network's set-up.
  const auto period = watchdog_period(functions_.shortest_timeout());
  // The first function with a timeout may be called, and this process stopped, before the next
  // look.
  if (period == 0ms) watchdog_.rest(base::ticks());
  const StandInWatchdog stand_in(watchdog_, period);
  if (message->type == wire::MessageType::kOpen) open_function(std::move(*message));
  if (message->type == wire::MessageType::kListen) answer_listen(*message);
}

bool ExecutorProcess::has_been_idle() {
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_at_ < kIdleLook) return false;
  looked_at_ = now;
  std::uint64_t ended = 0;
  bool running = false;
  for (WorkerState& state : states_) {
    ended += std::atomic_ref(state.counters->invocations).load(std::memory_order_relaxed);
    running |= state.running.load(std::memory_order_relaxed) != nullptr;
  }
  idle_looks_ = running || ended != ended_calls_ ? 0 : idle_looks_ + 1;
  ended_calls_ = ended;
  return idle_looks_ >= kIdleLooks;
}

void ExecutorProcess::become(wire::ReceivedMessage message) {
  const auto order = message.as<wire::Become>();
  if (!order || message.fds.size() != 2 || !data_.valid()) {
    die_before_start("the order to run an application is malformed, or comes too late");
  }
  const Place place{
      .order = order_, .control = control_, .data = data_.get(), .accounting = accounting_.fd()};
  const Error why = run_application(*order, message.fds[0].get(), message.fds[1].get(), place);
  die_before_start(why.what(), why.kind());
}

void ExecutorProcess::open_function(wire::ReceivedMessage message) {
  const auto open = message.as<wire::Open>();
  wire::Opened opened{};
  Result<void> loaded = fail(ErrorKind::kInvalid, "the order to open a function is malformed");
  if (open && message.fds.size() == 1) {
    opened.index = open->index;
    loaded = load_function(*open, std::move(message.fds[0]));
  }
  opened.ok = loaded ? 1 : 0;
  if (!loaded) {
    opened.kind = static_cast<std::uint8_t>(loaded.error().kind());
    wire::set_text(opened.text, loaded.error().what());
  }
  // Fails only when the manager has gone; the next poll sees that.
  (void)wire::send_message(control_, wire::MessageType::kOpened, opened);
}

Result<void> ExecutorProcess::load_function(const wire::Open& open, base::Fd memory) {
  const std::string name(wire::text_of(open.name));
  const std::string library(wire::text_of(open.library));
  // No function runs before the first one is opened.
  if (auto limited = limit_.enforce(); !limited) return limited;
  const bool own = application_ != nullptr && application_->sha256() == open.sha256;
  const auto function = own ? application_->find(name)
                            : libraries_.find(std::move(memory), open.sha256, library, name);
  if (!function) return tl::unexpected<Error>(function.error());
  const auto timeout = std::min(open.timeout_ms, kLongestTimeoutMs);
  return functions_.add(open.index, own ? base::name_for_people(name) : name, function->code,
                        function->form, std::chrono::milliseconds(timeout), function->floats);
}

void ExecutorProcess::answer_listen(const wire::ReceivedMessage& message) {
  const auto order = message.as<wire::Listen>();
  wire::Listening answer{};
  Result<std::string> address = fail(ErrorKind::kInvalid, "the order to listen is malformed");
  if (order) {
    answer.transport = order->transport;
    address = listen(*order);
  }
  answer.ok = address ? 1 : 0;
  wire::set_text(answer.text, address ? *address : std::string(address.error().what()));
  // Fails only when the manager has gone; the next poll sees that.
  (void)wire::send_message(control_, wire::MessageType::kListening, answer);
}

Result<std::string> ExecutorProcess::listen(const wire::Listen& order) {
  const std::string name(wire::text_of(order.transport));
  const auto kind = transport::kind_named(name);
  if (!kind || !transport::reaches_other_nodes(*kind)) {
    return fail(ErrorKind::kInvalid, "there is no network transport '" + name + "'");
  }
  for (const auto& listener : listeners_) {
    if (listener->kind() == *kind) return listener->address();
  }
  const transport::ListenPlaces places{std::string(wire::text_of(order.host)),
                                       std::string(wire::text_of(order.device)),
                                       std::string(wire::text_of(order.client_network))};
  auto opened = transport::listen(*kind, listen_options(order_), places);
  if (!opened) return tl::unexpected<Error>(std::move(opened.error()));
  listeners_.push_back(std::move(*opened));
  return listeners_.back()->address();
}

void ExecutorProcess::serve_clients() {
  const auto may_take = [this](std::uint32_t worker) {
    return std::none_of(clients_.begin(), clients_.end(),
                        [&](const Client& client) { return client.worker == worker; });
  };
  for (const auto& listener : listeners_) {
    listener->service(
        may_take,
        [&](std::uint32_t worker, transport::AnyServerChannel channel) {
          clients_.push_back({worker, listener.get(), channel});
          workers_[worker].serve(std::move(channel));
        },
        [&](std::uint32_t worker) {
          std::erase_if(clients_, [&](const Client& client) {
            if (client.worker != worker || client.listener != listener.get()) return false;
            transport::interrupt(client.channel);
            return true;
          });
        });
  }
}

}  // namespace sublet::executor
