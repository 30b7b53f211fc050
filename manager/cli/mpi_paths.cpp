#include <base/printable_text.hpp>
#include <cli/mpi_paths.hpp>
#include <common/program_answer.hpp>

#include <bench/companion.hpp>

#include <chrono>
#include <sstream>
#include <string>

namespace sublet::cli {
namespace {

/// It starts, asks its MPI for its version, and ends.
constexpr std::chrono::seconds kAnswer{10};

Result<MpiPath> ask(const std::string& kind, const std::string& program) {
  const auto answer = manager::ask_program({program}, kAnswer);
  if (!answer) return tl::unexpected<Error>(answer.error());
  MpiPath found{.kind = kind, .mpi = {}, .path = {}, .text = {}};
  std::istringstream lines(answer->output);
  const bool complete = answer->ended_well && std::getline(lines, found.mpi) &&
                        std::getline(lines, found.path) && std::getline(lines, found.text);
  if (complete) return found;
  const std::string first = answer->output.substr(0, answer->output.find('\n'));
  return fail(
      ErrorKind::kUnsupported,
      "its MPI does not run here: " + (first.empty() ? "it says nothing" : base::printable(first)));
}

}  // namespace

std::vector<MpiPathAnswer> mpi_paths() {
  std::vector<MpiPathAnswer> answers;
  for (const char* kind : {"openmpi", "mpich", "other"}) {
    const auto program = bench::find_companion(std::string("sublet-mpi-path-") + kind);
    if (program) answers.push_back({kind, ask(kind, *program)});
  }
  return answers;
}

}  // namespace sublet::cli
