#include <client/standins.hpp>

#include <utility>

namespace sublet::client {

Result<Standins> prepare(Standins found, std::size_t most, const Functions& functions,
                         const Timeouts& timeouts, const std::shared_ptr<transport::Arena>& arena) {
  std::size_t opened = 0;
  for (const auto& node : found.nodes) {
    auto count = functions.open_all(*node, found.functions);
    if (!count) return tl::unexpected<Error>(count.error());
    opened = *count;
  }
  found.functions = opened;
  if (!found.workers.empty()) return found;  // connected already
  std::vector<transport::Target> targets;
  for (std::size_t n = 0; n < found.nodes.size(); ++n) {
    const auto& share = found.nodes[n]->share();
    for (std::uint32_t i = 0; i < share->cpusets.size() && targets.size() < most; ++i) {
      auto route = route_to(*share, i, timeouts);
      if (!route) return tl::unexpected<Error>(route.error());
      targets.push_back(route->target);
      found.workers.push_back({n, i, std::move(*route), std::nullopt});
    }
  }
  auto channels = transport::connect(targets, arena);
  for (std::size_t i = 0; i < channels.size(); ++i) {
    Standins::Worker& worker = found.workers[i];
    if (!channels[i]) {
      return tl::unexpected<Error>(not_connected(*found.nodes[worker.node]->share(),
                                                 worker.worker_on_node, worker.route,
                                                 channels[i].error()));
    }
    worker.channel.emplace(std::move(*channels[i]));
  }
  return found;
}

}  // namespace sublet::client
