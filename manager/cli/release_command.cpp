#include <cli/command.hpp>
#include <cli/run_command.hpp>
#include <common/manager_query.hpp>

#include <boost/program_options.hpp>

#include <charconv>
#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine release_command_line() {
  CommandLine line;
  line.name = "release";
  line.arguments = "LEASE [OPTIONS]";
  line.about =
      "Ends a lease, whoever has it: calls under way are lost, its client is told who ended it, "
      "and\n"
      "its cores are free when this returns. With --notice its client is told how much time is "
      "left,\n"
      "its notice period, and the lease ends then; it cannot be extended any more. A request that\n"
      "waits for cores has a number too, and waits no more.";
  line.options.add_options()("lease", po::value<std::string>()->required(),
                             "number of the lease; `sublet leases` lists them")(
      "reason", po::value<std::string>()->default_value(""), "what its client is told")(
      "notice", "end it after its notice period");
  line.positional = "lease";
  add_manager_options(line);
  return line;
}

namespace {

Result<std::uint64_t> lease_number(const std::string& text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec == std::errc() && read.ptr == end) return number;
  return fail(ErrorKind::kInvalid,
              "LEASE is '" + text + "'; it must be a number that `sublet leases` shows");
}

}  // namespace

int release_command(const std::vector<std::string>& words) {
  return run_command(release_command_line(), words, [](const Values& values) -> Result<void> {
    const auto lease = lease_number(values["lease"].as<std::string>());
    if (!lease) return tl::unexpected<Error>(lease.error());
    const auto released = ask_manager(values, [&](const ManagerTarget& target) {
      return manager::release_lease(target.location, *lease, values["reason"].as<std::string>(),
                                    target.timeout, values.count("notice") != 0);
    });
    if (!released) return tl::unexpected<Error>(released.error());
    if (released->count() == 0) {
      std::cout << "lease " << *lease << " has ended\n";
    } else {
      std::cout << "lease " << *lease << " ends in " << released->count() << " ms\n";
    }
    return {};
  });
}

}  // namespace sublet::cli
