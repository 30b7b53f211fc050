#include <base/log.hpp>
#include <cli/command.hpp>
#include <cli/daemon.hpp>
#include <cli/executor_manager_options.hpp>
#include <cli/manager_options.hpp>
#include <common/alarms.hpp>
#include <common/host_addresses.hpp>
#include <executor_manager/zygote_process.hpp>

#include <boost/program_options.hpp>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine executor_manager_command_line() {
  CommandLine line;
  line.name = "executor-manager";
  line.arguments = "[OPTIONS]";
  line.about =
      "Offers cores and memory of this node to a resource manager, and starts, limits and watches\n"
      "the executors of the leases that it grants on them. Waits for a resource manager that is "
      "not\n"
      "there yet. On SIGTERM or SIGINT it drains: it takes no new leases, tells the "
      "clients,\n"
      "lets calls under way end, ends the leases and then itself. A second one ends them at once.";
  add_daemon_options(
      line,
      "a socket that clients on this node reach, and any free port when the resource "
      "manager is reached by TCP");
  add_location_options(line);
  add_trust_options(line);
  add_node_options(line);
  add_isolation_options(line, "sandbox");
  line.options.add_options()(
      "advertise", po::value<std::vector<std::string>>(),
      "host name or address by which other nodes reach this one, where it listens at every "
      "interface; may be repeated, the best first (default: the address on the way to the resource "
      "manager, or those of all interfaces when that is on this node)")(
      "direct", po::bool_switch(),
      "lease to clients that ask this node itself too (SUBLET_EXECUTORS): what they use is in no "
      "ledger")("skip-resource-manager", po::bool_switch(),
                "lease to such clients alone, and register with no resource manager")(
      "drain-time", po::value<std::string>()->default_value("5s"),
      "on SIGTERM or SIGINT leases end at the latest after this "
      "time, for instance 500ms or "
      "30s; 0: at once");
  line.lists.emplace_back("advertise");
  line.reloadable.emplace_back("drain-time");
  return line;
}

namespace {

/// For executors to end, once leases have.
constexpr std::chrono::seconds kAfterDrain{30};

Result<manager::ExecutorManagerOptions> executor_manager_options(const po::variables_map& values) {
  auto options = node_options(values);
  if (!options) return options;
  // A directory is looked into again and again: the manager may start later, and move.
  options->manager = values["manager"].as<std::string>();
  options->manager_directory = values["manager-dir"].as<std::string>();
  options->direct = values["direct"].as<bool>();
  options->skip_resource_manager = values["skip-resource-manager"].as<bool>();
  if (options->skip_resource_manager) {
    options->manager = wire::ManagerLocation();
    options->manager_directory.clear();
  } else if (options->manager.address.empty() && options->manager_directory.empty()) {
    auto local = wire::local_manager_address();
    if (!local) return tl::unexpected<Error>(std::move(local.error()));
    options->manager = std::move(*local);
  }
  if (values.count("listen") != 0) {
    options->listen = values["listen"].as<std::vector<std::string>>();
  }
  std::vector<std::string> networks = options->listen;
  networks.push_back(options->manager.address);
  // As its file will say, or the socket for clients of other nodes.
  if (options->manager.address.empty() &&
      !(options->skip_resource_manager && !options->listen.empty())) {
    networks.emplace_back("tcp:");
  }
  auto trust = daemon_trust(values, networks);
  if (!trust) return tl::unexpected<Error>(std::move(trust.error()));
  options->trust = std::move(*trust);
  if (values.count("advertise") != 0) {
    auto hosts = manager::advertised_hosts(values["advertise"].as<std::vector<std::string>>());
    if (!hosts) return tl::unexpected<Error>(hosts.error());
    options->advertise = std::move(*hosts);
  }
  return options;
}

Result<void> serve_executor_manager(Configuration& configuration) {
  const Values& values = configuration.values();
  auto options = executor_manager_options(values);
  if (!options) return tl::unexpected<Error>(options.error());
  auto drain_time = parse_duration(values["drain-time"].as<std::string>());
  if (!drain_time) return tl::unexpected<Error>(drain_time.error());
  auto isolated = isolation_of(values);
  if (!isolated) return tl::unexpected<Error>(isolated.error());
  options->images = std::move(isolated->images);
  // Before any thread or event loop: what it forks inherits the process as it is now.
  auto zygote = manager::start_zygote(manager::ZygoteFor::kCluster, isolated->isolation);
  if (!zygote) return tl::unexpected<Error>(zygote.error());
  Daemon daemon(configuration);
  auto started = manager::ExecutorManager::start(daemon.io(), std::move(*zygote), *options,
                                                 std::move(isolated->containers));
  if (!started) return tl::unexpected<Error>(started.error());
  const auto file = AddressFile::write(values, (*started)->offer().addresses);
  if (!file) return tl::unexpected<Error>(file.error());
  manager::ExecutorManager& node = **started;
  manager::Alarms alarms;
  node.add_alarms(alarms);
  auto watched = alarms.watch(daemon.timer()).eagerlyEvaluate(nullptr);
  using Origin = manager::NodeDrain::Origin;
  auto by_signal = daemon.stop_signal().then([&](const std::string& signal) -> kj::Promise<void> {
    if (node.leaving()) {
      base::log().info("ending at once on a second signal, {}", signal);
      return kj::READY_NOW;
    }
    base::log().info("draining on {}", signal);
    daemon.stopping(*drain_time + kAfterDrain);
    node.drain("node " + node.offer().name + " is being given back", *drain_time, Origin::kHere);
    return daemon.stop_signal().then([](const std::string& second) {
      base::log().info("ending at once on a second signal, {}", second);
    });
  });
  daemon.serve([&drain_time](const Values& again) -> Result<void> {
    auto time = parse_duration(again["drain-time"].as<std::string>());
    if (!time) return tl::unexpected<Error>(std::move(time.error()));
    drain_time = std::move(time);
    return {};
  });
  std::string refusal;
  auto unwanted = node.refused().then([&refusal](const std::string& why) { refusal = why; });
  node.drained()
      .exclusiveJoin(kj::mv(by_signal))
      .exclusiveJoin(kj::mv(unwanted))
      .wait(daemon.wait_scope());
  node.stop("the resource manager refuses its node").wait(daemon.wait_scope());
  if (!refusal.empty()) {
    return fail(ErrorKind::kInvalid, "the resource manager refuses this node: " + refusal);
  }
  return {};
}

}  // namespace

int executor_manager_command(const std::vector<std::string>& words) {
  return daemon_command(executor_manager_command_line(), words, serve_executor_manager);
}

}  // namespace sublet::cli
