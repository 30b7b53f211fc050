#include <cli/manager_options.hpp>
#include <common/manager_query.hpp>

#include <boost/program_options.hpp>

namespace sublet::cli {

namespace po = boost::program_options;

void add_manager_options(CommandLine& line) {
  line.options.add_options()(
      "manager", po::value<std::string>(),
      "address of the resource manager, unix:PATH or tcp:HOST:PORT; by default this user's own on "
      "this node")("timeout-ms", po::value<std::uint32_t>()->default_value(5000),
                   "how long to wait for its answer");
  line.aliases.emplace_back("SUBLET_MANAGER", "manager");
}

ManagerTarget manager_target(const po::variables_map& values) {
  ManagerTarget target;
  target.address = values.count("manager") != 0 ? values["manager"].as<std::string>()
                                                : manager::default_manager_address();
  target.timeout = std::chrono::milliseconds(values["timeout-ms"].as<std::uint32_t>());
  return target;
}

}  // namespace sublet::cli
