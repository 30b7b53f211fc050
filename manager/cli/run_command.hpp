#pragma once

#include <cli/manager_options.hpp>
#include <cli/options.hpp>
#include <cli/waiting.hpp>
#include <sublet/result.hpp>

#include <boost/program_options/variables_map.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::cli {

using Values = boost::program_options::variables_map;

/// The skeleton of every command: reads its options, answers --help, runs `body`, tells an error
/// and makes an exit code of its kind (exit_codes.hpp).
int run_command(const CommandLine& line, const std::vector<std::string>& words,
                const std::function<Result<void>(const Values&)>& body);

/// As run_command, for a body that chooses the exit code.
int run_command_for_code(const CommandLine& line, const std::vector<std::string>& words,
                         const std::function<Result<int>(const Values&)>& body);

/// What a command that lists something found: for people and for programs.
struct Listing {
  std::string table;
  std::string json;
};

/// The skeleton of a command that lists something and has --output: prints what was asked for.
int list_command(const CommandLine& line, const std::vector<std::string>& words,
                 const std::function<Result<Listing>(const Values&)>& body);

/// Asks the resource manager that the options name (see add_manager_options), and says so to a
/// person who has to wait. `ask` gets the location and the limit, and returns a Result.
template <class Ask>
auto ask_manager(const Values& values, Ask ask)
    -> decltype(ask(std::declval<const ManagerTarget&>())) {
  const auto target = manager_target(values);
  if (!target) return tl::unexpected<Error>(target.error());
  const WaitingNote note(target->location.to_string());
  return ask(*target);
}

}  // namespace sublet::cli
