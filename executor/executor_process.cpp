#include <executor/executor_process.hpp>
#include <executor/fatal.hpp>
#include <executor/sandbox.hpp>
#include <executor/watchdog.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace sublet::executor {
namespace {

using namespace std::chrono_literals;

/// Longer timeouts cannot matter, and their nanoseconds would not fit 64 bits.
constexpr std::uint64_t kLongestTimeoutMs = std::uint64_t{10} * 365 * 24 * 3600 * 1000;

base::Ticks hot_ticks(std::int64_t hot_timeout_ms) {
  if (hot_timeout_ms < 0) return std::numeric_limits<base::Ticks>::max();
  const auto ms =
      std::min<std::int64_t>(hot_timeout_ms, static_cast<std::int64_t>(kLongestTimeoutMs));
  return base::TickRate::get().from(std::chrono::milliseconds(ms));
}

transport::ListenOptions listener_options(const wire::Spawn& order) {
  static_assert(transport::kTokenBytes == wire::kTokenBytes);
  return {.token = order.token,
          .workers = order.workers,
          .max_slots = order.slots,
          .max_arena_bytes = order.max_arena_bytes,
          .mostly_warm = order.hot_timeout_ms == 0};
}

}  // namespace

ExecutorProcess::ExecutorProcess(ExecutorStart& start)
    : order_(start.order),
      functions_(start.functions),
      control_(start.control),
      listener_(std::move(start.data), listener_options(start.order)),
      states_(start.order.workers) {}

Result<std::unique_ptr<ExecutorProcess>> ExecutorProcess::start(ExecutorStart start) {
  std::unique_ptr<ExecutorProcess> process(new ExecutorProcess(start));
  auto accounting = base::SharedMemory::map(std::move(start.accounting),
                                            start.order.workers * sizeof(wire::WorkerCounters));
  if (!accounting) return tl::unexpected<Error>(accounting.error());
  process->accounting_ = std::move(*accounting);
  auto started = process->start_workers(start);
  if (started) return process;
  // Threads of it may run: from here on it can only end with the process.
  (void)process.release();
  return tl::unexpected<Error>(started.error());
}

Result<void> ExecutorProcess::start_workers(const ExecutorStart& start) {
  const auto memory = WorkerMemory::make(order_.workers);
  if (!memory) return tl::unexpected<Error>(memory.error());
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
    if (auto started = worker.start(*memory, start.topology, start.cores[i]); !started) {
      return started;
    }
  }
  return {};
}

void ExecutorProcess::run() {
  for (;;) {
    collect_poll_fds();
    const std::size_t first_client = fds_.size() - clients_.size();
    ::poll(fds_.data(), fds_.size(), poll_timeout_ms());
    if (functions_.shortest_timeout() > 0ms) end_overrun_calls(states_, base::ticks());
    // The manager first: when it says stop, nothing else matters. Clients that have gone before new
    // ones: a client that connects again finds its worker free.
    if (fds_[0].revents != 0) read_control();
    drop_ended_clients(first_client);
    listener_.service([this](std::uint32_t worker) { return is_free(worker); },
                      [this](transport::shm::Accepted a) { take_client(std::move(a)); });
  }
}

int ExecutorProcess::poll_timeout_ms() const {
  const auto period = watchdog_period(functions_.shortest_timeout());
  const int listener = listener_.poll_timeout_ms();
  if (period == 0ms) return listener;
  const int watchdog = static_cast<int>(period.count());
  return listener < 0 ? watchdog : std::min(listener, watchdog);
}

void ExecutorProcess::collect_poll_fds() {
  fds_.clear();
  fds_.push_back({control_, POLLIN, 0});
  listener_.append_poll_fds(fds_);
  for (const Client& client : clients_) fds_.push_back({client.connection.get(), POLLIN, 0});
}

void ExecutorProcess::read_control() {
  auto message = wire::receive_message(control_);
  if (!message || message->type == wire::MessageType::kStop) ::_exit(0);
  if (message->type == wire::MessageType::kOpen) open_function(std::move(*message));
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
  if (!loaded) wire::set_text(opened.text, loaded.error().what());
  // Fails only when the manager has gone; the next poll sees that.
  (void)wire::send_message(control_, wire::MessageType::kOpened, opened);
}

Result<void> ExecutorProcess::load_function(const wire::Open& open, base::Fd memory) {
  const std::string name(wire::text_of(open.name));
  const std::string library(wire::text_of(open.library));
  const auto function = libraries_.find(std::move(memory), open.sha256, library, name);
  if (!function) return tl::unexpected<Error>(function.error());
  const auto timeout = std::min(open.timeout_ms, kLongestTimeoutMs);
  return functions_.add(open.index, name, function->code, function->form,
                        std::chrono::milliseconds(timeout));
}

void ExecutorProcess::drop_ended_clients(std::size_t first_fd) {
  std::size_t i = first_fd;
  std::erase_if(clients_, [&](const Client& client) {
    // A client sends nothing once it is connected: whatever is there is its end, or no client of
    // ours.
    if (fds_[i++].revents == 0) return false;
    interrupt(client.link);
    return true;
  });
}

bool ExecutorProcess::is_free(std::uint32_t worker) const {
  return std::none_of(clients_.begin(), clients_.end(),
                      [&](const Client& client) { return client.worker == worker; });
}

void ExecutorProcess::take_client(transport::shm::Accepted accepted) {
  const ServerLink link =
      std::shared_ptr<transport::shm::ServerChannel>(std::move(accepted.channel));
  clients_.push_back({accepted.worker, std::move(accepted.connection), link});
  workers_[accepted.worker].serve(link);
}

}  // namespace sublet::executor
