#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/run_command.hpp>

#include <bench/companion.hpp>
#include <boost/program_options.hpp>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine trace_command_line() {
  CommandLine line;
  line.name = "trace";
  line.arguments = "convert --to otf2 TIMELINE DIRECTORY";
  line.about =
      "Converts a timeline, as Session::write_trace and its counterparts of MPI, C and Fortran "
      "write it, to\nan OTF2 archive in DIRECTORY, which must not be there yet: for otf2-print, "
      "Vampir and others. Each\ncall is a region with the name of its function, on the location "
      "of its worker.";
  line.options.add_options()("words", po::value<std::vector<std::string>>(),
                             "convert, the timeline and the directory")(
      "to", po::value<std::string>()->default_value("otf2"), "the format: otf2");
  line.positional = "words";
  line.choices["words"] = {"convert"};
  line.choices["to"] = {"otf2"};
  return line;
}

int trace_command(const std::vector<std::string>& words) {
  return run_command(trace_command_line(), words, [](const Values& values) -> Result<void> {
    const auto given = values.count("words") == 0 ? std::vector<std::string>()
                                                  : values["words"].as<std::vector<std::string>>();
    if (given.size() != 3 || given.front() != "convert") {
      return fail(ErrorKind::kInvalid, "usage: sublet trace convert --to otf2 TIMELINE DIRECTORY");
    }
    if (const auto& to = values["to"].as<std::string>(); to != "otf2") {
      return fail(ErrorKind::kInvalid, "--to is '" + to + "'; it must be otf2");
    }
    auto program = bench::find_companion("sublet-trace-otf2");
    if (!program) {
      return fail(ErrorKind::kUnsupported,
                  std::string(program.error().what()) +
                      "; it is built where OTF2 is installed (libopen-trace-format2-dev)");
    }
    std::string timeline = given[1];
    std::string directory = given[2];
    char* argv[] = {program->data(), timeline.data(), directory.data(), nullptr};
    ::execv(program->c_str(), argv);
    return fail(ErrorKind::kInternal, "running '" + *program + "': " + std::strerror(errno), errno);
  });
}

}  // namespace sublet::cli
