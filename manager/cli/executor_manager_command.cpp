#include <base/log.hpp>
#include <cli/command.hpp>
#include <cli/daemon.hpp>
#include <cli/executor_manager_options.hpp>
#include <cli/exit_codes.hpp>
#include <cli/manager_options.hpp>
#include <common/async.hpp>
#include <executor_manager/zygote_process.hpp>

#include <boost/program_options.hpp>
#include <sodium/core.h>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

CommandLine command_line() {
  CommandLine line;
  line.name = "executor-manager";
  line.arguments = "[OPTIONS]";
  line.about =
      "Offers cores and memory of this node to a resource manager, and starts, limits and watches\n"
      "the executors of the leases that it grants on them. Waits for a resource manager that is "
      "not\n"
      "there yet. On SIGTERM, SIGINT or SIGHUP it drains: it takes no new leases, tells the "
      "clients,\n"
      "lets calls under way end, ends the leases and then itself. A second one ends them at once.";
  line.options.add_options()(
      "listen", po::value<std::vector<std::string>>(),
      "address to listen at, unix:PATH or tcp:HOST:PORT; may be repeated; by default "
      "a socket that clients on this node reach, and any free port when the resource "
      "manager is reached by TCP")(
      "address-file", po::value<std::string>(),
      "write the addresses to this file once the manager listens, one per line")(
      "config", po::value<std::string>(), "read this configuration file");
  add_location_options(line);
  add_node_options(line);
  line.options.add_options()("drain-time", po::value<std::string>()->default_value("5s"),
                             "on SIGTERM, SIGINT or SIGHUP leases end at the latest after this "
                             "time, for instance 500ms or "
                             "30s; 0: at once");
  line.lists = {"listen"};
  line.configurable = true;
  return line;
}

Result<manager::ExecutorManagerOptions> executor_manager_options(const po::variables_map& values) {
  auto options = node_options(values);
  if (!options) return options;
  // A directory is looked into again and again: the manager may start later, and move.
  options->manager = values["manager"].as<std::string>();
  options->manager_directory = values["manager-dir"].as<std::string>();
  if (options->manager.address.empty() && options->manager_directory.empty()) {
    options->manager = wire::local_manager_address();
  }
  if (values.count("listen") != 0) {
    options->listen = values["listen"].as<std::vector<std::string>>();
  }
  return options;
}

Result<void> serve(const po::variables_map& values, manager::ZygoteProcess zygote,
                   const manager::ExecutorManagerOptions& options) {
  Daemon daemon;
  auto started = manager::ExecutorManager::start(daemon.io(), std::move(zygote), options);
  if (!started) return tl::unexpected<Error>(started.error());
  AddressFile file;
  if (values.count("address-file") != 0) {
    auto written =
        AddressFile::write(values["address-file"].as<std::string>(), (*started)->offer().addresses);
    if (!written) return tl::unexpected<Error>(written.error());
    file = std::move(*written);
  }
  const auto drain_time = parse_duration(values["drain-time"].as<std::string>());
  if (!drain_time) return tl::unexpected<Error>(drain_time.error());
  manager::ExecutorManager& node = **started;
  using Order = manager::ExecutorManager::DrainOrder;
  auto by_signal = daemon.stop_signal().then([&](const std::string& signal) {
    base::log().info("draining on {}", signal);
    return Order{"node " + node.offer().name + " is being given back", *drain_time};
  });
  const Order order = node.drain_order().exclusiveJoin(kj::mv(by_signal)).wait(daemon.wait_scope());
  node.drain(order.reason, order.limit)
      .exclusiveJoin(daemon.stop_signal().then([](const std::string& signal) {
        base::log().info("ending at once on a second signal, {}", signal);
      }))
      .wait(daemon.wait_scope());
  node.stop(order.reason).wait(daemon.wait_scope());
  return {};
}

}  // namespace

int executor_manager_command(const std::vector<std::string>& words) {
  const CommandLine line = command_line();
  const auto values = parse_options(line, words);
  if (!values) return complain(line.name, values.error().what(), kExitUsage);
  if (values->count("help") != 0) {
    print_help(line);
    return kExitOk;
  }
  auto options = executor_manager_options(*values);
  if (!options) return complain(line.name, options.error().what(), kExitUsage);
  base::init_log("executor-manager", spdlog::level::info);
  // Before any thread or event loop: what it forks inherits the process as it is now.
  auto zygote = manager::start_zygote();
  if (!zygote) return complain(line.name, zygote.error().what(), exit_code(zygote.error().kind()));
  if (::sodium_init() < 0) return complain(line.name, "libsodium does not start", kExitFailure);
  try {
    if (auto served = serve(*values, std::move(*zygote), *options); !served) {
      return complain(line.name, served.error().what(), exit_code(served.error().kind()));
    }
  } catch (const kj::Exception& exception) {
    return complain(line.name, manager::text_of(exception), kExitFailure);
  }
  return kExitOk;
}

}  // namespace sublet::cli
