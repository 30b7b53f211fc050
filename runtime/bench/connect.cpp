#include "connect.hpp"

#include "statistics.hpp"
#include <base/clock.hpp>
#include <base/helper_process.hpp>
#include <sublet/lease.hpp>
#include <transport/any/any_channel.hpp>
#include <transport/any/any_listener.hpp>

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace sublet::bench {
namespace {

using namespace std::chrono_literals;
using Channels = std::vector<Result<transport::AnyClientChannel>>;
using Targets = std::vector<transport::Target>;

constexpr auto kHelperLimit = 10s;
constexpr transport::Token kToken{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

// ---- the executor's side, in the helper process ----

/// What the client asks for: a listener for so many workers.
struct Order {
  transport::Kind kind{};
  std::uint32_t workers = 0;
};

struct Address {
  std::array<char, 512> text{};
};

struct Closed {};

Result<std::unique_ptr<transport::AnyListener>> open_listener(const Order& order) {
  transport::ListenOptions options;
  options.token = kToken;
  options.workers = order.workers;
  options.max_arena_bytes = LeaseRequest{}.arena_bytes;
  options.mostly_warm = true;
  return transport::listen(order.kind, options, {});
}

/// Takes connections, as an executor's main thread does, until the client says something.
void take_connections(transport::AnyListener& listener, std::uint32_t workers, int client) {
  std::vector<transport::AnyServerChannel> channels(workers);
  std::vector<pollfd> fds;
  for (;;) {
    fds.assign(1, {client, POLLIN, 0});
    listener.append_poll_fds(fds);
    // libfabric's tcp provider does not always raise its event queue's descriptor for a connection.
    constexpr int kLookAgainMs = 10;
    const int limit = listener.poll_timeout_ms();
    ::poll(fds.data(), fds.size(), limit < 0 ? kLookAgainMs : std::min(limit, kLookAgainMs));
    if (fds[0].revents != 0) return;
    listener.service([&](std::uint32_t worker) { return channels[worker].index() == 0; },
                     [&](std::uint32_t worker, transport::AnyServerChannel channel) {
                       channels[worker] = std::move(channel);
                     },
                     [&](std::uint32_t worker) { channels[worker] = {}; });
  }
}

void serve(base::HelperLink& client) {
  for (;;) {
    const auto order = client.hear<Order>(-1ms);
    if (!order) return;  // the benchmark is over
    auto listener = open_listener(*order);
    if (!listener) {
      if (!client.tell_failure(listener.error())) return;
      continue;
    }
    std::string text = (*listener)->address();
    // The client is on this node.
    if (text.starts_with("*:")) text.replace(0, 1, "127.0.0.1");
    Address address;
    text.copy(address.text.data(), address.text.size() - 1);
    if (!client.tell(address)) return;
    take_connections(**listener, order->workers, client.fd());
    if (!client.hear<Closed>(-1ms)) return;
    listener->reset();
    if (!client.tell(Closed{})) return;
  }
}

// ---- the client's side ----

Channels open_together(const Targets& targets, const std::shared_ptr<transport::Arena>& arena) {
  return transport::connect(targets, arena);
}

Channels open_one_by_one(const Targets& targets, const std::shared_ptr<transport::Arena>& arena) {
  Channels channels;
  channels.reserve(targets.size());
  for (const transport::Target& target : targets) {
    channels.push_back(std::move(transport::connect({target}, arena).front()));
  }
  return channels;
}

using Open = Channels (*)(const Targets&, const std::shared_ptr<transport::Arena>&);

/// One worker each of a listener that was just opened.
Result<Targets> listen_anew(base::HelperLink& executor, const Order& order) {
  if (auto told = executor.tell(order); !told) return tl::unexpected<Error>(told.error());
  const auto address = executor.hear<Address>(kHelperLimit);
  if (!address) return tl::unexpected<Error>(address.error());
  Targets targets(order.workers);
  for (std::uint32_t i = 0; i < order.workers; ++i) {
    targets[i].kind = order.kind;
    targets[i].options.address = address->text.data();
    targets[i].options.token = kToken;
    targets[i].options.worker = i;
  }
  return targets;
}

/// Opens channels to all workers of a new listener, in microseconds.
Result<double> time_once(base::HelperLink& executor, const Order& order, Open open) {
  auto targets = listen_anew(executor, order);
  if (!targets) return tl::unexpected<Error>(std::move(targets.error()));
  auto arena = transport::Arena::create(LeaseRequest{}.arena_bytes);
  if (!arena) return tl::unexpected<Error>(std::move(arena.error()));
  const std::shared_ptr<transport::Arena> shared = std::move(*arena);
  const base::Ticks start = base::ticks();
  Channels channels = open(*targets, shared);
  const base::Ticks end = base::ticks();
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (channels[i]) continue;
    return fail(channels[i].error().kind(), "connecting to worker " + std::to_string(i + 1) +
                                                " of " + std::to_string(channels.size()) + ": " +
                                                channels[i].error().what());
  }
  for (auto& channel : channels) channel->close();
  if (auto told = executor.tell(Closed{}); !told) return tl::unexpected<Error>(told.error());
  if (auto closed = executor.hear<Closed>(kHelperLimit); !closed) {
    return tl::unexpected<Error>(closed.error());
  }
  return static_cast<double>(base::TickRate::get().to_ns(end - start)) / 1000;
}

Result<ConnectRow> measure_count(base::HelperLink& executor, const ConnectOptions& options,
                                 std::uint32_t connections, Progress& progress) {
  ConnectRow row;
  row.connections = connections;
  const Order order{options.transport, connections};
  std::vector<double> together;
  std::vector<double> one_by_one;
  std::vector<double> ratios;
  const std::uint64_t rounds = options.warmup + options.iterations;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    // Which is first alternates: the second finds the system as the first has left it.
    const bool together_first = round % 2 == 0;
    double both[2] = {0, 0};
    for (const bool is_together : {together_first, !together_first}) {
      auto us = time_once(executor, order, is_together ? open_together : open_one_by_one);
      if (!us) return tl::unexpected<Error>(std::move(us.error()));
      both[is_together ? 0 : 1] = *us;
    }
    progress.show("connect " + std::to_string(connections), round + 1, rounds);
    if (round < options.warmup) continue;
    together.push_back(both[0]);
    one_by_one.push_back(both[1]);
    ratios.push_back(both[0] / both[1]);
  }
  row.rounds = ratios.size();
  row.together_us = median(std::move(together));
  row.one_by_one_us = median(std::move(one_by_one));
  row.ratio = median(std::move(ratios));
  return row;
}

}  // namespace

Result<ConnectReport> measure_connect(const ConnectOptions& options, Progress& progress) {
  auto executor = base::HelperProcess::start(serve);
  if (!executor) return tl::unexpected<Error>(std::move(executor.error()));
  if (auto pinned = pin(executor->pid(), options.cpus.worker); !pinned) {
    return tl::unexpected<Error>(std::move(pinned.error()));
  }
  auto pinned = PinnedThread::on(options.cpus.client);
  if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));

  ConnectReport report;
  report.cpus = options.cpus;
  report.transport = options.transport;
  for (const std::uint32_t count : options.counts) {
    auto row = measure_count(executor->link(), options, count, progress);
    if (!row) return tl::unexpected<Error>(std::move(row.error()));
    report.rows.push_back(*row);
  }
  return report;
}

}  // namespace sublet::bench
