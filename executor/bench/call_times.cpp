// `sublet-bench-call-times`, for `sublet bench observe`: what it costs a call that its worker
// counts how long it ran.
//
// Two workers in a process of their own, on one core: the loop that executors run, and the same
// loop compiled without the counting. Batches of calls to one and to the other take turns, as in
// bench/batch.hpp; the one that is not called sleeps. Half of the pairs are taken with the two in
// each other's place, because where a channel lies in memory matters as much.

#include <base/fd.hpp>
#include <base/helper_process.hpp>
#include <base/unix_socket.hpp>
#include <executor/function_table.hpp>
#include <executor/worker_datapath.hpp>
#include <transport/any/any_channel.hpp>
#include <transport/any/any_listener.hpp>
#include <transport/arena.hpp>

#include <bench/batch.hpp>
#include <bench/cpus.hpp>
#include <bench/statistics.hpp>
#include <poll.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace sublet::executor {
namespace {

constexpr auto kHelperLimit = std::chrono::seconds(10);
constexpr auto kHot = std::chrono::milliseconds(1);  ///< A worker spins on after a batch.
constexpr auto kLongest = std::chrono::seconds(15);  ///< For each half, where cores are short.
constexpr std::uint64_t kLeastPairs = 5;
constexpr std::uint32_t kCallsPerSample = 64;
constexpr std::uint64_t kMaxPairs = 10'000;
constexpr std::size_t kArena = std::size_t{2} << 20;
constexpr transport::Token kToken{2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5, 9, 0, 4, 5};
constexpr std::uint32_t kWorkers = 2;  ///< One counts how long its calls run, one does not.

struct Ready {};

std::uint32_t echo(void* in, std::uint32_t size, void* out) {
  std::memcpy(out, in, size);
  return size;
}

// ---- the workers, in the helper process ----

template <CallTimesKept kTimes>
void serve_as_worker(const transport::AnyServerChannel& channel, const FunctionTable& functions,
                     std::uint32_t index) {
  wire::WorkerCounters counters{};
  alignas(64) std::array<std::byte, transport::kInlineBytes> scratch{};
  WorkerState state;
  state.functions = &functions;
  state.counters = &counters;
  state.rate = base::TickRate::get();
  state.hot_ticks = state.rate.from(kHot);
  state.scratch = scratch.data();
  state.index = index;
  std::visit(
      [&state](const auto& held) {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (!std::is_same_v<Held, std::monostate>) {
          WorkerLoop<typename Held::element_type, kTimes>(*held, state).serve();
        }
      },
      channel);
}

void run_workers(const std::string& address, std::uint32_t counting, base::HelperLink& client) {
  FunctionTable functions;
  transport::ListenOptions options;
  options.token = kToken;
  options.workers = kWorkers;
  options.max_arena_bytes = kArena;
  auto socket = base::listen_abstract(address, 8);
  if (!socket) return (void)client.tell_failure(socket.error());
  auto listener = transport::listen_on_this_node(std::move(*socket), options);
  if (!listener) return (void)client.tell_failure(listener.error());
  if (auto added = functions.add(0, "echo", reinterpret_cast<void*>(&echo), FunctionForm::kRfaas,
                                 std::chrono::milliseconds(0));
      !added) {
    return (void)client.tell_failure(added.error());
  }
  if (!client.tell(Ready{})) return;

  std::array<transport::AnyServerChannel, kWorkers> channels;
  const auto is_free = [&](std::uint32_t worker) { return channels.at(worker).index() == 0; };
  while (is_free(0) || is_free(1)) {
    std::vector<pollfd> fds{{client.fd(), POLLIN, 0}};
    (*listener)->append_poll_fds(fds);
    ::poll(fds.data(), fds.size(), (*listener)->poll_timeout_ms());
    if (fds[0].revents != 0) return;  // the benchmark is over
    (*listener)->service(
        is_free,
        [&](std::uint32_t worker, transport::AnyServerChannel channel) {
          channels.at(worker) = std::move(channel);
        },
        [](std::uint32_t) {});
  }
  std::vector<std::thread> threads;
  for (std::uint32_t worker = 0; worker < kWorkers; ++worker) {
    const auto serve = worker == counting ? &serve_as_worker<CallTimesKept::kYes>
                                          : &serve_as_worker<CallTimesKept::kNo>;
    threads.emplace_back([&, serve, worker] { serve(channels.at(worker), functions, worker); });
  }
  (void)client.hear<Ready>(std::chrono::milliseconds(-1));
  std::_Exit(0);  // with its threads
}

// ---- the client ----

/// Calls of one of the workers, for run_batch.
class CallSide {
 public:
  explicit CallSide(transport::AnyClientChannel channel) : channel_(std::move(channel)) {}

  static Result<void> begin() { return {}; }  // the first call wakes the worker
  static Result<void> end() {
    std::this_thread::sleep_for(3 * kHot);  // until the worker has left the core to the other one
    return {};
  }
  [[nodiscard]] bool one() noexcept {
    const std::uint64_t sent = ++number_;
    std::uint64_t returned = 0;
    transport::Request request;
    request.in = &sent;
    request.in_size = sizeof(sent);
    request.out = &returned;
    request.out_capacity = sizeof(returned);
    transport::Ticket ticket;
    transport::ReplyView view;
    return channel_.call(request, ticket, view) == Status::kOk && view.status == Status::kOk &&
           returned == sent;
  }
  [[nodiscard]] bool checked_one() noexcept { return one(); }
  [[nodiscard]] static Error failure() {
    return Error(ErrorKind::kInternal, "'echo' did not send back what it was given");
  }

 private:
  transport::AnyClientChannel channel_;
  std::uint64_t number_ = 0;
};

Result<std::vector<CallSide>> connect_to_both(const std::string& address) {
  auto arena = transport::Arena::create(kArena);
  if (!arena) return tl::unexpected<Error>(std::move(arena.error()));
  const std::shared_ptr<transport::Arena> shared = std::move(*arena);
  std::vector<CallSide> sides;
  for (std::uint32_t worker = 0; worker < kWorkers; ++worker) {
    transport::Target target;
    target.kind = transport::same_node_kind();
    target.options.address = address;
    target.options.token = kToken;
    target.options.worker = worker;
    auto channel = std::move(transport::connect({target}, shared).front());
    if (!channel) return tl::unexpected<Error>(std::move(channel.error()));
    sides.emplace_back(std::move(*channel));
  }
  return sides;
}

struct Samples {
  std::vector<bench::BatchPair> pairs;
  std::vector<double> with_ns;  ///< The p50 of each batch.
  std::vector<double> without_ns;
};

/// Adds `pairs` of batches, with worker `counting` as the one that counts.
Result<void> take_pairs(const bench::CpuPair& cpus, std::uint64_t pairs, std::uint32_t counting,
                        Samples& all) {
  const std::string address =
      "sublet-bench-call-times-" + std::to_string(::getpid()) + "-" + std::to_string(counting);
  auto workers = base::HelperProcess::start(
      [&](base::HelperLink& client) { run_workers(address, counting, client); });
  if (!workers) return tl::unexpected<Error>(std::move(workers.error()));
  if (auto pinned = bench::pin(workers->pid(), cpus.worker); !pinned) return pinned;
  if (auto ready = workers->link().hear<Ready>(kHelperLimit); !ready) {
    return tl::unexpected<Error>(std::move(ready.error()));
  }
  auto sides = connect_to_both(address);
  if (!sides) return tl::unexpected<Error>(std::move(sides.error()));

  const bench::BatchPlan plan{.calls_per_sample = kCallsPerSample, .max_samples = 1'000'000};
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < pairs; ++i) {
    if (i >= kLeastPairs && std::chrono::steady_clock::now() - begin > kLongest) break;
    std::array<double, kWorkers> ns{};
    for (const std::uint64_t turn : {0u, 1u}) {  // which one is first alternates
      const std::size_t side = (i + turn) % kWorkers;
      const auto samples = bench::run_batch((*sides)[side], plan);
      if (!samples) return tl::unexpected<Error>(samples.error());
      ns.at(side) = bench::percentile(*samples, 0.5);
    }
    all.with_ns.push_back(ns.at(counting));
    all.without_ns.push_back(ns.at(1 - counting));
    all.pairs.push_back({.ours = ns.at(counting), .baseline = ns.at(1 - counting)});
  }
  return {};
}

Result<Samples> measure(std::uint64_t pairs) {
  const auto allowed = bench::allowed_cpus();
  if (!allowed) return tl::unexpected<Error>(allowed.error());
  const auto cpus = bench::choose_cpu_pair(*allowed);
  if (!cpus) return tl::unexpected<Error>(cpus.error());
  const auto pinned = bench::PinnedThread::on(cpus->client);
  if (!pinned) return tl::unexpected<Error>(pinned.error());
  Samples all;
  for (const std::uint32_t counting : {0u, 1u}) {
    if (auto taken = take_pairs(*cpus, (pairs + 1) / 2, counting, all); !taken) {
      return tl::unexpected<Error>(std::move(taken.error()));
    }
  }
  return all;
}

int report(std::uint64_t pairs) {
  auto samples = measure(pairs);
  if (!samples) {
    std::fprintf(stderr, "sublet-bench-call-times: %s\n", samples.error().what());
    return 1;
  }
  const bench::PairSummary summary = bench::summarise(samples->pairs);
  std::printf("{\"ratio_p50\":%.4f,\"p50_us\":%.4f,\"without_p50_us\":%.4f,\"pairs\":%zu}\n",
              summary.ratio, bench::median(std::move(samples->with_ns)) / 1000,
              bench::median(std::move(samples->without_ns)) / 1000, summary.pairs);
  return 0;
}

}  // namespace
}  // namespace sublet::executor

int main(int argc, char** argv) {
  const std::uint64_t pairs = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (pairs < 1 || pairs > sublet::executor::kMaxPairs) {
    std::fprintf(stderr,
                 "usage: sublet-bench-call-times PAIRS (1 to 10000); `sublet bench observe` runs "
                 "it\n");
    return 2;
  }
  return sublet::executor::report(pairs);
}
