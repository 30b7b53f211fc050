// The `sublet` command.

#include <base/descriptors.hpp>
#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <sublet/version.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>

namespace sublet::cli {
namespace {

void print_help() {
  std::puts(
      "usage: sublet COMMAND [OPTIONS]\n"
      "\n"
      "Leases idle cores and runs functions on them at the speed of the network.\n"
      "\n"
      "commands:");
  for (const Command& command : commands()) {
    if (command.summary == nullptr) continue;
    std::printf("  %-18s %s\n", command.name, command.summary);
  }
  std::puts(
      "\n"
      "  --help             this text; `sublet COMMAND --help` says more\n"
      "  --version          the version\n"
      "\n"
      "exit codes:");
  for (const ExitMeaning& each : kExitMeanings) std::printf("  %d  %s\n", each.code, each.meaning);
}

int run(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--help" || name == "-h" || name == "help") {
    print_help();
    return argc > 1 ? kExitOk : kExitUsage;
  }
  if (name == "--version") {
    std::puts("sublet " SUBLET_VERSION);
    return kExitOk;
  }
  const auto all = commands();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&name](const Command& command) { return command.name == name; });
  if (found == all.end()) {
    return complain("", "there is no command '" + name + "'; `sublet --help` lists them all",
                    kExitUsage);
  }
  try {
    return found->run({argv + 2, argv + argc});
  } catch (const std::exception& error) {
    return complain(name, error.what(), kExitFailure);
  }
}

}  // namespace

}  // namespace sublet::cli

int main(int argc, char** argv) {
  if (!sublet::base::open_standard_descriptors()) return sublet::cli::kExitFailure;
  return sublet::cli::run(argc, argv);
}
