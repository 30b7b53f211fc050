#include <cli/device_database.hpp>
#include <cli/executor_manager_options.hpp>
#include <executor_manager/node_setup.hpp>
#include <wire/address.hpp>
#include <wire/executor_protocol.hpp>

#include <boost/program_options.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace sublet::cli {

namespace po = boost::program_options;

void add_node_options(CommandLine& line) {
  line.options.add_options()("cores", po::value<std::uint32_t>()->default_value(0),
                             "offer this many cores, the first of those allowed (0: all)")(
      "cpuset", po::value<std::string>()->default_value(""),
      "offer only these cores, in hwloc's syntax, for instance 0,4-7 (default: all allowed)")(
      "memory", po::value<std::string>()->default_value("0"),
      "offer this much memory, for instance 64GiB (0: most of the node's)")(
      "gpus", po::value<std::string>()->default_value("auto"),
      "GPUs to offer: auto, those of this node's drivers that this process may use; none; or a "
      "file "
      "that lists them, a line each: UUID, PCI address, name, memory")(
      "avoid", po::value<std::string>()->default_value(""),
      "of the offered cores, those to use only when no other is free, in hwloc's syntax")(
      "oversubscribe", po::value<std::uint32_t>()->default_value(1),
      "offer each core this many times; for tests and demonstrations")(
      "data-host", po::value<std::string>()->default_value(""),
      "address of this node at which executors take data connections over a network (default: all "
      "addresses)")(
      "device", po::value<std::string>()->default_value(""),
      "RDMA device that executors take connections at (default: every one with an active port)")(
      "device-database", po::value<std::string>()->default_value(""),
      "JSON file with the RDMA devices to use and their addresses, as rFaaS has them")(
      "node-name", po::value<std::string>()->default_value(""),
      "name of this node (default: $SLURMD_NODENAME, else the host name)")(
      "stack-size", po::value<std::string>()->default_value("0"),
      "stack of each worker, for instance 64MiB (0: as `ulimit -s` says, at most 1GiB)")(
      "warm-executors", po::value<std::uint32_t>()->default_value(4),
      "keep up to this many processes ready to become executors, as many as leases came lately; 0: "
      "none")(
      "core-directory", po::value<std::string>()->default_value(""),
      "leave a core file of each executor that crashes in this directory, which the executors' "
      "user "
      "can write to (default: none)")("executor-user", po::value<std::string>()->default_value(""),
                                      "run executors as this user (default: as root their lease's "
                                      "owner, or nobody where that is root; "
                                      "else unchanged)")(
      "executor-users", po::value<std::string>()->default_value(""),
      "run the executors of each lease as a user of their own, of these numbers, which nobody else "
      "has: "
      "for instance 60000-60999; root's managers only")(
      "cgroup", po::value<std::string>()->default_value("auto"),
      "auto: one memory cgroup for each executor where this process may make them; off: none");
  line.choices["cgroup"] = {"auto", "off"};
  line.aliases.emplace_back("SUBLET_NODE_NAME", "node-name");
}

void add_isolation_options(CommandLine& line, const std::string& by_default) {
  line.options.add_options()(
      "isolation", po::value<std::string>()->default_value(by_default),
      "sandbox: executors have a filter of system calls and, where this is root, a /tmp of their "
      "own and no view of others' processes; container: they run in Podman, from an image; "
      "process: "
      "they share the node's files")(
      "image", po::value<std::string>()->default_value(""),
      "with --isolation container: the image for functions that name none, which this node has")(
      "allow-image", po::value<std::vector<std::string>>(),
      "with --isolation container: an image that functions may name (SUBLET_IMAGE), or the "
      "beginning of such names with a * behind it; may be repeated");
  line.lists.emplace_back("allow-image");
}

Result<IsolationChoice> isolation_of(const po::variables_map& values) {
  const auto& text = values["isolation"].as<std::string>();
  const auto& image = values["image"].as<std::string>();
  const auto allowed = values.count("allow-image") == 0
                           ? std::vector<std::string>()
                           : values["allow-image"].as<std::vector<std::string>>();
  const auto& directory = values["core-directory"].as<std::string>();
  if (text != "container" && !(image.empty() && allowed.empty())) {
    return fail(ErrorKind::kInvalid,
                "--image and --allow-image are for --isolation container, and it is " + text);
  }
  if (text == "process") return IsolationChoice{};
  if (text != "sandbox" && text != "container") {
    return fail(ErrorKind::kInvalid,
                "--isolation is '" + text + "'; it must be sandbox, container or process");
  }
  for (const char* const hidden : {"/tmp/", "/var/tmp/", "/dev/shm/"}) {
    if (::geteuid() != 0 || !directory.starts_with(hidden)) continue;
    return fail(ErrorKind::kInvalid,
                "--core-directory is " + directory + ", and executors have a " + hidden +
                    " of their own: name another place, or take --isolation process");
  }
  if (text == "sandbox") return IsolationChoice{manager::Isolation::kSandbox, {}, {}};
  auto images = manager::ContainerImages::make(image, allowed);
  if (!images) return tl::unexpected<Error>(std::move(images.error()));
  if (image.empty() && allowed.empty()) {
    return fail(ErrorKind::kInvalid,
                "--isolation container needs an image: name one for all functions (--image), or "
                "those that functions may name (--allow-image)");
  }
  auto containers = manager::ContainerRuntime::find();
  if (!containers) return tl::unexpected<Error>(std::move(containers.error()));
  if (!image.empty()) {
    if (auto there = containers->check_image(image); !there) {
      return tl::unexpected<Error>(std::move(there.error()));
    }
  }
  if (!directory.empty()) containers->show_directory(directory);
  return IsolationChoice{manager::Isolation::kContainer, std::move(*images),
                         std::move(*containers)};
}

namespace {

/// Where executors take RDMA connections: empty for every active port, else a device's name, or the
/// address that a device database has for it. A device that is not there is an error now and not at
/// the first lease.
Result<std::string> rdma_host(const po::variables_map& values) {
  const auto device = values["device"].as<std::string>();
  const auto database = values["device-database"].as<std::string>();
  if (device.empty() && database.empty()) return std::string();
  std::string name = device;
  std::string host = device;
  if (!database.empty()) {
    const auto known = DeviceDatabase::read(database);
    if (!known) return tl::unexpected<Error>(known.error());
    if (known->entries().empty()) {
      return fail(ErrorKind::kInvalid, "device database '" + database + "' names no device");
    }
    const auto entry = device.empty() ? Result<DeviceDatabase::Entry>(known->entries().front())
                                      : known->find(device);
    if (!entry) return tl::unexpected<Error>(entry.error());
    name = entry->name;
    host = entry->ip_address;
  }
  const auto devices = transport::verbs::devices();
  if (!devices) return tl::unexpected<Error>(devices.error());
  if (const auto found = pick_device(*devices, name); !found) {
    return tl::unexpected<Error>(found.error());
  }
  return host;
}

Result<std::uint64_t> size_option(const po::variables_map& values, const char* option) {
  auto size = parse_size(values[option].as<std::string>());
  if (size) return size;
  return fail(ErrorKind::kInvalid, std::string("--") + option + ": " + size.error().what());
}

/// A function runs with what its author has for the main thread of a program, whatever that is.
Result<std::uint64_t> stack_size(const po::variables_map& values) {
  constexpr std::uint64_t kLeast = std::uint64_t{256} << 10;
  constexpr std::uint64_t kMost = std::uint64_t{64} << 30;
  constexpr std::uint64_t kMostByItself = std::uint64_t{1} << 30;
  auto size = size_option(values, "stack-size");
  if (!size) return size;
  if (*size == 0) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_STACK, &limit) != 0) return *size;
    return std::clamp<std::uint64_t>(limit.rlim_cur, kLeast, kMostByItself);
  }
  if (*size < kLeast || *size > kMost) {
    return fail(ErrorKind::kInvalid, "--stack-size is '" + values["stack-size"].as<std::string>() +
                                         "'; allowed are 256KiB to 64GiB, and 0");
  }
  return size;
}

/// Absolute: executors may work in another directory.
Result<std::string> core_directory(const std::string& text) {
  if (text.empty()) return text;
  std::error_code error;
  std::string path = std::filesystem::absolute(text, error).string();
  if (error || !std::filesystem::is_directory(path, error)) {
    return fail(ErrorKind::kInvalid, "--core-directory is '" + text + "', which is no directory");
  }
  if (path.size() > wire::kMaxDirectory) {
    return fail(ErrorKind::kInvalid, "--core-directory has more than " +
                                         std::to_string(wire::kMaxDirectory) + " characters");
  }
  return path;
}

}  // namespace

Result<manager::ExecutorManagerOptions> node_options(const po::variables_map& values) {
  constexpr std::uint32_t kMaxOversubscribe = 1024;
  constexpr std::uint32_t kMaxWarmExecutors = 256;
  manager::ExecutorManagerOptions options;
  options.cores = values["cores"].as<std::uint32_t>();
  options.cpuset = values["cpuset"].as<std::string>();
  options.avoid = values["avoid"].as<std::string>();
  options.gpus = values["gpus"].as<std::string>();
  const auto memory = size_option(values, "memory");
  if (!memory) return tl::unexpected<Error>(memory.error());
  options.memory_bytes = *memory;
  const auto stack = stack_size(values);
  if (!stack) return tl::unexpected<Error>(stack.error());
  options.stack_bytes = *stack;
  options.warm_executors = values["warm-executors"].as<std::uint32_t>();
  if (options.warm_executors > kMaxWarmExecutors) {
    return fail(ErrorKind::kInvalid, "--warm-executors is " +
                                         std::to_string(options.warm_executors) +
                                         "; allowed are 0 to " + std::to_string(kMaxWarmExecutors));
  }
  auto cores = core_directory(values["core-directory"].as<std::string>());
  if (!cores) return tl::unexpected<Error>(cores.error());
  options.core_directory = std::move(*cores);
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
  auto rdma = rdma_host(values);
  if (!rdma) return tl::unexpected<Error>(rdma.error());
  options.rdma_host = std::move(*rdma);
  options.node_name = values["node-name"].as<std::string>();
  options.executor_user = values["executor-user"].as<std::string>();
  auto users = manager::ExecutorUsers::parse(values["executor-users"].as<std::string>());
  if (!users) return tl::unexpected<Error>(std::move(users.error()));
  if (users->any() && !options.executor_user.empty()) {
    return fail(ErrorKind::kInvalid,
                "--executor-user and --executor-users are both given; name one of them");
  }
  options.executor_users = std::move(*users);
  const auto& cgroup = values["cgroup"].as<std::string>();
  if (cgroup != "auto" && cgroup != "off") {
    return fail(ErrorKind::kInvalid, "--cgroup is '" + cgroup + "'; it must be auto or off");
  }
  options.cgroup = cgroup == "auto";
  return options;
}

std::vector<std::string> executor_manager_problems(const po::variables_map& values) {
  std::vector<std::string> problems;
  const auto note = [&problems](const auto& result) {
    if (!result) problems.emplace_back(result.error().what());
  };
  const auto options = node_options(values);
  note(options);
  if (options) {
    std::string cpuset;
    note(manager::make_offer(*options, cpuset));
    if (!options->executor_users.any()) note(manager::find_user(options->executor_user));
  }
  note(isolation_of(values));
  note(parse_duration(values["drain-time"].as<std::string>()));
  if (values.count("listen") != 0) {
    for (const std::string& text : values["listen"].as<std::vector<std::string>>()) {
      note(wire::Address::parse(text));
    }
  }
  const auto& manager = values["manager"].as<std::string>();
  if (!manager.empty()) note(wire::Address::parse(manager));
  return problems;
}

}  // namespace sublet::cli
