#include <cli/manager_options.hpp>
#include <sublet/session.hpp>

#include <boost/program_options.hpp>

namespace sublet::cli {

namespace po = boost::program_options;

void add_location_options(CommandLine& line) {
  line.options.add_options()(
      "manager", po::value<std::string>()->default_value(""),
      "address of the resource manager, unix:PATH or tcp:HOST:PORT; by default this user's own on "
      "this node")("manager-dir", po::value<std::string>()->default_value(""),
                   "where no address is named: directory in which the resource manager keeps its "
                   "address, see its --address-dir");
  line.aliases.emplace_back("SUBLET_MANAGER", "manager");
  line.aliases.emplace_back("SUBLET_MANAGER_DIR", "manager-dir");
}

namespace {

Result<wire::ManagerLocation> locate(const std::string& named, const std::string& directory) {
  auto location = wire::find_manager(named, directory);
  if (!location || !location->address.empty()) return location;
  auto local = wire::local_manager_address();
  if (!local) return tl::unexpected<Error>(std::move(local.error()));
  location->address = std::move(*local);
  return location;
}

}  // namespace

Result<wire::ManagerLocation> manager_location(const po::variables_map& values) {
  return locate(values["manager"].as<std::string>(), values["manager-dir"].as<std::string>());
}

void add_manager_options(CommandLine& line) {
  add_location_options(line);
  line.options.add_options()("timeout-ms", po::value<std::uint32_t>()->default_value(5000),
                             "how long to wait for its answer (by default as applications do)");
}

Result<ManagerTarget> manager_target(const po::variables_map& values) {
  auto options = SessionOptions::load();
  if (!options) return tl::unexpected<Error>(std::move(options.error()));
  ManagerTarget target;
  target.session = std::move(*options);
  target.timeout = std::chrono::milliseconds(values["timeout-ms"].as<std::uint32_t>());
  if (values["timeout-ms"].defaulted()) target.timeout = target.session.timeout;
  std::string named = values["manager"].as<std::string>();
  std::string directory = values["manager-dir"].as<std::string>();
  if (named.empty() && directory.empty()) {
    named = target.session.manager;
    directory = target.session.manager_directory;
  }
  auto location = locate(named, directory);
  if (!location) return tl::unexpected<Error>(std::move(location.error()));
  target.location = std::move(*location);
  target.location.trust = wire::Trust::load({.key_files = wire::key_files(target.session.key_file),
                                             .manager_user = target.session.manager_user,
                                             .insecure = target.session.insecure});
  return target;
}

}  // namespace sublet::cli
