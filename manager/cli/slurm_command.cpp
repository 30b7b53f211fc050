#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/options.hpp>
#include <cli/output.hpp>
#include <cli/slurm_templates.hpp>

#include <boost/program_options.hpp>

#include <iostream>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

CommandLine command_line() {
  CommandLine line;
  line.name = "slurm";
  line.arguments = "template [NAME]";
  line.about =
      "Prints a batch script for a Slurm cluster, to copy and to change; without NAME, says which\n"
      "there are. For instance:\n"
      "  sublet slurm template executor-manager > executor-manager.sbatch";
  line.options.add_options()("words", po::value<std::vector<std::string>>(),
                             "what to do, and the name of a template");
  line.positional = "words";
  return line;
}

std::string list_of_templates() {
  std::vector<std::vector<std::string>> rows = {{"TEMPLATE", "FOR"}};
  for (const SlurmTemplate& each : slurm_templates()) {
    rows.push_back({std::string(each.name), std::string(each.summary())});
  }
  return format_table(rows);
}

}  // namespace

int slurm_command(const std::vector<std::string>& words) {
  const CommandLine line = command_line();
  const auto values = parse_options(line, words);
  if (!values) return complain(line.name, values.error().what(), kExitUsage);
  if (values->count("help") != 0) {
    print_help(line);
    return kExitOk;
  }
  std::vector<std::string> given;
  if (values->count("words") != 0) given = (*values)["words"].as<std::vector<std::string>>();
  if (given.empty() || given.front() != "template" || given.size() > 2) {
    return complain(line.name,
                    "what is wanted? `sublet slurm template` lists the batch scripts, `sublet "
                    "slurm template NAME` prints one",
                    kExitUsage);
  }
  if (given.size() == 1) {
    std::cout << list_of_templates();
    return kExitOk;
  }
  const auto found = find_slurm_template(given[1]);
  if (!found) return complain(line.name, found.error().what(), kExitUsage);
  std::cout << found->text;
  return kExitOk;
}

}  // namespace sublet::cli
