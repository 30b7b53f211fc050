#include "connect.hpp"

#include "leased_worker.hpp"
#include "statistics.hpp"
#include <base/clock.hpp>
#include <base/node_identity.hpp>
#include <client/control_plane.hpp>
#include <client/control_thread.hpp>
#include <client/worker_link.hpp>
#include <transport/any/any_channel.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace sublet::cli::bench {
namespace {

using Channels = std::vector<Result<transport::AnyClientChannel>>;
using Targets = std::vector<transport::Target>;

/// A claimed lease whose workers nobody has connected to yet: what Session::lease has between the
/// grant and its last step.
class Unconnected {
 public:
  static Result<Unconnected> lease(client::ControlPlane& control, std::uint32_t workers) {
    Unconnected lease;
    // They sleep until their first call: many of them share a core.
    const LeaseRequest request{.cores = workers, .hot_timeout = std::chrono::milliseconds(0)};
    auto nodes = control.while_cores_return(
        [&] { return control.lease(request, std::make_shared<client::LeaseEvents>()); });
    if (!nodes) return tl::unexpected<Error>(std::move(nodes.error()));
    lease.control_ = &control;
    lease.nodes_ = std::move(*nodes);
    auto arena = transport::Arena::create(request.arena_bytes);
    if (!arena) return tl::unexpected<Error>(std::move(arena.error()));
    lease.arena_ = std::move(*arena);
    return lease;
  }
  Unconnected(Unconnected&&) = default;
  Unconnected& operator=(Unconnected&&) = delete;
  ~Unconnected() {
    if (nodes_.empty()) return;
    for (const auto& node : nodes_) node->release();
    control_->note_release();
  }

  [[nodiscard]] Result<Targets> targets() const {
    Targets targets;
    for (const auto& node : nodes_) {
      for (std::uint32_t i = 0; i < node->share()->cpusets.size(); ++i) {
        auto route = client::route_to(*node->share(), i, control_->timeouts());
        if (!route) return tl::unexpected<Error>(std::move(route.error()));
        targets.push_back(std::move(route->target));
      }
    }
    return targets;
  }
  [[nodiscard]] const std::shared_ptr<transport::Arena>& arena() const noexcept { return arena_; }

 private:
  Unconnected() = default;
  client::ControlPlane* control_ = nullptr;
  std::vector<std::unique_ptr<client::NodeLink>> nodes_;
  std::shared_ptr<transport::Arena> arena_;
};

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

/// Opens channels to all workers of a fresh lease, in microseconds.
Result<double> time_once(client::ControlPlane& control, std::uint32_t workers, Open open) {
  auto lease = Unconnected::lease(control, workers);
  if (!lease) return tl::unexpected<Error>(std::move(lease.error()));
  auto targets = lease->targets();
  if (!targets) return tl::unexpected<Error>(std::move(targets.error()));
  const base::Ticks start = base::ticks();
  Channels channels = open(*targets, lease->arena());
  const base::Ticks end = base::ticks();
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (channels[i]) continue;
    return fail(channels[i].error().kind(), "connecting to worker " + std::to_string(i + 1) +
                                                " of " + std::to_string(workers) + ": " +
                                                channels[i].error().what());
  }
  for (auto& channel : channels) channel->close();
  return static_cast<double>(base::TickRate::get().to_ns(end - start)) / 1000;
}

Result<ConnectRow> measure_count(client::ControlPlane& control, const ConnectOptions& options,
                                 std::uint32_t connections, Progress& progress) {
  ConnectRow row;
  row.connections = connections;
  std::vector<double> together;
  std::vector<double> one_by_one;
  std::vector<double> ratios;
  const std::uint64_t rounds = options.warmup + options.iterations;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    // Which is first alternates: the second finds the managers as the first has left them.
    const bool together_first = round % 2 == 0;
    double both[2] = {0, 0};
    for (const bool is_together : {together_first, !together_first}) {
      auto us = time_once(control, connections, is_together ? open_together : open_one_by_one);
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
  const std::uint32_t most = *std::max_element(options.counts.begin(), options.counts.end());
  auto session = open_session(options, most);
  if (!session) return tl::unexpected<Error>(std::move(session.error()));
  client::ControlPlane control(base::node_identity(""), to_string(options.transport), {});
  // A session tells its manager's address for people: what follows a space is no part of it.
  const std::string manager = session->manager_address();
  if (auto connected = control.connect_manager(manager.substr(0, manager.find(' '))); !connected) {
    return tl::unexpected<Error>(std::move(connected.error()));
  }
  auto pinned = PinnedThread::on(options.cpus.client);
  if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));

  ConnectReport report;
  report.cpus = options.cpus;
  report.transport = options.transport;
  report.manager = manager;
  for (const std::uint32_t count : options.counts) {
    auto row = measure_count(control, options, count, progress);
    if (!row) return tl::unexpected<Error>(std::move(row.error()));
    report.rows.push_back(*row);
  }
  return report;
}

}  // namespace sublet::cli::bench
