#include <base/printable_text.hpp>
#include <cli/command.hpp>
#include <cli/config_file.hpp>
#include <cli/executor_manager_options.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/resource_manager_options.hpp>
#include <cli/run_command.hpp>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine config_command_line() {
  CommandLine line;
  line.name = "config";
  line.arguments = "check FILE [OPTIONS]";
  line.about =
      "Reads a configuration file as managers or applications would, and says what is wrong with "
      "it:\nsections and options that are mistyped, with the ones that were probably meant, values "
      "that are\nrefused, and cores, devices, users and groups that are not on this node. Ends "
      "with "
      "0 when nothing\nis, and with 2 otherwise.";
  line.options.add_options()("words", po::value<std::vector<std::string>>(), "check, and the file")(
      "for", po::value<std::string>()->default_value("auto"),
      "whose file it is: managers, applications, or auto, by whether it has sections");
  line.positional = "words";
  line.choices["words"] = {"check"};
  line.choices["for"] = {"auto", "managers", "applications"};
  add_output_option(line);
  return line;
}

namespace {

std::string problems_text(const ConfigFile& file, const std::vector<ConfigProblem>& problems) {
  std::string text;
  for (const ConfigProblem& problem : problems) {
    text += base::printable(file.path) +
            (problem.line == 0 ? "" : ":" + std::to_string(problem.line)) + ": " +
            base::printable(problem.text) + "\n";
  }
  return text.empty() ? base::printable(file.path) + ": nothing is wrong\n" : text;
}

std::string problems_json(const ConfigFile& file, bool managers,
                          const std::vector<ConfigProblem>& problems) {
  auto list = nlohmann::json::array();
  for (const ConfigProblem& problem : problems) {
    list.push_back({{"line", problem.line}, {"text", problem.text}});
  }
  const nlohmann::json all = {{"file", file.path},
                              {"for", managers ? "managers" : "applications"},
                              {"good", problems.empty()},
                              {"problems", list}};
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<bool> is_for_managers(const std::string& whose, const ConfigFile& file) {
  if (whose == "auto") return file.has_sections;
  if (whose == "managers" || whose == "applications") return whose == "managers";
  return fail(ErrorKind::kInvalid,
              "--for is '" + whose + "'; it must be auto, managers or applications");
}

}  // namespace

int config_command(const std::vector<std::string>& words) {
  return run_command_for_code(
      config_command_line(), words, [](const Values& values) -> Result<int> {
        const auto format = output_format(values);
        if (!format) return tl::unexpected<Error>(format.error());
        const auto given = values.count("words") == 0
                               ? std::vector<std::string>()
                               : values["words"].as<std::vector<std::string>>();
        if (given.size() != 2 || given.front() != "check") {
          return fail(ErrorKind::kInvalid, "usage: sublet config check FILE");
        }
        const auto file = ConfigFile::read(given.back());
        if (!file) return tl::unexpected<Error>(file.error());
        const auto managers = is_for_managers(values["for"].as<std::string>(), *file);
        if (!managers) return tl::unexpected<Error>(managers.error());
        const auto problems =
            *managers ? check_managers_file(
                            *file, {{resource_manager_command_line(), resource_manager_problems},
                                    {executor_manager_command_line(), executor_manager_problems}})
                      : check_sessions_file(*file);
        std::cout << (*format == OutputFormat::kJson ? problems_json(*file, *managers, problems)
                                                     : problems_text(*file, problems));
        return problems.empty() ? kExitOk : kExitUsage;
      });
}

}  // namespace sublet::cli
