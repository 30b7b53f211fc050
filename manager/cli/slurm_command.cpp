#include <cli/command.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <cli/slurm_templates.hpp>

#include <boost/program_options.hpp>

#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine slurm_command_line() {
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
  line.choices["words"] = {"template"};
  return line;
}

namespace {

std::string list_of_templates() {
  std::vector<std::vector<std::string>> rows = {{"TEMPLATE", "FOR"}};
  for (const SlurmTemplate& each : slurm_templates()) {
    rows.push_back({std::string(each.name), std::string(each.summary())});
  }
  return format_table(rows);
}

}  // namespace

int slurm_command(const std::vector<std::string>& words) {
  return run_command(slurm_command_line(), words, [](const Values& values) -> Result<void> {
    std::vector<std::string> given;
    if (values.count("words") != 0) given = values["words"].as<std::vector<std::string>>();
    if (given.empty() || given.front() != "template" || given.size() > 2) {
      return fail(ErrorKind::kInvalid,
                  "what is wanted? `sublet slurm template` lists the batch scripts, `sublet slurm "
                  "template NAME` prints one");
    }
    if (given.size() == 1) {
      std::cout << list_of_templates();
      return {};
    }
    const auto found = find_slurm_template(given[1]);
    if (!found) return tl::unexpected<Error>(found.error());
    std::cout << found->text;
    return {};
  });
}

}  // namespace sublet::cli
