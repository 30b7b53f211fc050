#include <base/node_identity.hpp>
#include <cli/command.hpp>
#include <cli/doctor/cluster_findings.hpp>
#include <cli/doctor/directory_findings.hpp>
#include <cli/doctor/finding.hpp>
#include <cli/doctor/limit_findings.hpp>
#include <cli/doctor/manager_findings.hpp>
#include <cli/doctor/memory_findings.hpp>
#include <cli/doctor/process_findings.hpp>
#include <cli/doctor/transport_findings.hpp>
#include <cli/manager_options.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>

#include <boost/program_options.hpp>

#include <iostream>
#include <utility>

namespace sublet::cli {

CommandLine doctor_command_line() {
  CommandLine line;
  line.name = "doctor";
  line.arguments = "[OPTIONS]";
  line.about =
      "Looks at this node: which transports it can use and which one calls would take, how calls "
      "that\n"
      "are MPI requests are completed, limits, memory, cgroups, the run-time directory, MUNGE and\n"
      "Slurm, and whether a resource manager answers. A line for each, with what was found, what "
      "is\n"
      "wanted and what to do: ok, - (not there, and need not be), note (works, but slower or for "
      "less)\n"
      "or fault. The exit code says the worst: 0 for ok, 6 for a note, 7 for a fault.";
  add_manager_options(line);
  add_output_option(line);
  return line;
}

namespace {

bool names_manager(const Values& values, const Result<ManagerTarget>& target) {
  for (const char* const option : {"manager", "manager-dir"}) {
    if (!values[option].as<std::string>().empty()) return true;
  }
  return target && (!target->session.manager.empty() || !target->session.manager_directory.empty());
}

Findings examine(const Values& values, const Result<ManagerTarget>& target) {
  bool locks_memory = false;
  Findings findings = transport_findings(target ? target->session.transport : "", locks_memory);
  const auto add = [&findings](Findings more) {
    for (Finding& finding : more) findings.push_back(std::move(finding));
  };
  add(mpi_findings());
  add(limit_findings(locks_memory));
  add(memory_findings());
  add(process_findings());
  add(directory_findings());
  add(cluster_findings());
  add(manager_findings(target, names_manager(values, target)));
  return findings;
}

}  // namespace

int doctor_command(const std::vector<std::string>& words) {
  return run_command_for_code(
      doctor_command_line(), words, [](const Values& values) -> Result<int> {
        const auto format = output_format(values);
        if (!format) return tl::unexpected<Error>(format.error());
        const auto target = manager_target(values);
        const Findings findings = examine(values, target);
        const std::string node = base::node_identity(target ? target->session.node_name : "").name;
        std::cout << (*format == OutputFormat::kJson ? to_json(node, findings)
                                                     : to_table(node, findings));
        return exit_code(findings);
      });
}

}  // namespace sublet::cli
