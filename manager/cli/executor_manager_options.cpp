#include <cli/executor_manager_options.hpp>
#include <wire/executor_protocol.hpp>

#include <boost/program_options.hpp>

namespace sublet::cli {

namespace po = boost::program_options;

void add_node_options(CommandLine& line) {
  line.options.add_options()("cores", po::value<std::uint32_t>()->default_value(0),
                             "offer this many cores, the first of those allowed (0: all)")(
      "cpuset", po::value<std::string>()->default_value(""),
      "offer only these cores, in hwloc's syntax, for instance 0,4-7 (default: all allowed)")(
      "memory", po::value<std::string>()->default_value("0"),
      "offer this much memory, for instance 64GiB (0: most of the node's)")(
      "oversubscribe", po::value<std::uint32_t>()->default_value(1),
      "offer each core this many times; for tests and demonstrations")(
      "data-host", po::value<std::string>()->default_value(""),
      "address of this node at which executors take data connections over a network (default: all "
      "addresses)")("node-name", po::value<std::string>()->default_value(""),
                    "name of this node (default: the host name)")(
      "executor-user", po::value<std::string>()->default_value(""),
      "run executors as this user (default: nobody when this is root, else unchanged)")(
      "cgroup", po::value<std::string>()->default_value("auto"),
      "auto: one memory cgroup for each executor where this process may make them; off: none");
  line.aliases.emplace_back("SUBLET_NODE_NAME", "node-name");
}

Result<manager::ExecutorManagerOptions> node_options(const po::variables_map& values) {
  constexpr std::uint32_t kMaxOversubscribe = 1024;
  manager::ExecutorManagerOptions options;
  options.cores = values["cores"].as<std::uint32_t>();
  options.cpuset = values["cpuset"].as<std::string>();
  const auto memory = parse_size(values["memory"].as<std::string>());
  if (!memory) return tl::unexpected<Error>(memory.error());
  options.memory_bytes = *memory;
  options.oversubscribe = values["oversubscribe"].as<std::uint32_t>();
  if (options.oversubscribe == 0 || options.oversubscribe > kMaxOversubscribe) {
    return fail(ErrorKind::kInvalid, "--oversubscribe is " + std::to_string(options.oversubscribe) +
                                         "; allowed are 1 to " + std::to_string(kMaxOversubscribe));
  }
  options.data_host = values["data-host"].as<std::string>();
  if (options.data_host.size() >= wire::kMaxHostName) {
    return fail(ErrorKind::kInvalid, "--data-host has more than " +
                                         std::to_string(wire::kMaxHostName - 1) + " characters");
  }
  options.node_name = values["node-name"].as<std::string>();
  options.executor_user = values["executor-user"].as<std::string>();
  const auto& cgroup = values["cgroup"].as<std::string>();
  if (cgroup != "auto" && cgroup != "off") {
    return fail(ErrorKind::kInvalid, "--cgroup is '" + cgroup + "'; it must be auto or off");
  }
  options.cgroup = cgroup == "auto";
  return options;
}

}  // namespace sublet::cli
