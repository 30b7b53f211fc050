#include <base/log.hpp>
#include <cli/command.hpp>
#include <cli/daemon.hpp>
#include <cli/executor_manager_options.hpp>
#include <cli/exit_codes.hpp>
#include <common/async.hpp>
#include <common/manager_query.hpp>
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
      "there yet. Ends its leases on SIGTERM, SIGINT or SIGHUP.";
  line.options.add_options()(
      "manager", po::value<std::string>(),
      "address of the resource manager, unix:PATH or tcp:HOST:PORT; by default this user's own on "
      "this node")("listen", po::value<std::vector<std::string>>(),
                   "address to listen at, unix:PATH or tcp:HOST:PORT; may be repeated; by default "
                   "a socket that clients on this node reach, and any free port when the resource "
                   "manager is reached by TCP")(
      "address-file", po::value<std::string>(),
      "write the addresses to this file once the manager listens, one per line")(
      "config", po::value<std::string>(), "read this configuration file");
  add_node_options(line);
  line.lists = {"listen"};
  line.aliases.emplace_back("SUBLET_MANAGER", "manager");
  line.configurable = true;
  return line;
}

Result<manager::ExecutorManagerOptions> executor_manager_options(const po::variables_map& values) {
  auto options = node_options(values);
  if (!options) return options;
  options->manager_address = values.count("manager") != 0 ? values["manager"].as<std::string>()
                                                          : manager::default_manager_address();
  if (const auto address = wire::Address::parse(options->manager_address); !address) {
    return tl::unexpected<Error>(address.error());
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
  const std::string signal = daemon.stop_signal().wait(daemon.wait_scope());
  base::log().info("ending on {}", signal);
  (*started)->stop("the executor manager of this node ends").wait(daemon.wait_scope());
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
