#include <base/json_log.hpp>
#include <base/log.hpp>
#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>

#include <boost/program_options.hpp>

#include <cstdio>
#include <iostream>

namespace sublet::cli {

int complain(std::string_view command, std::string_view text, int exit_code) {
  std::fprintf(stderr, "sublet%s%.*s: %.*s\n", command.empty() ? "" : " ",
               static_cast<int>(command.size()), command.data(), static_cast<int>(text.size()),
               text.data());
  return exit_code;
}

int run_command_for_code(const CommandLine& line, const std::vector<std::string>& words,
                         const std::function<Result<int>(const Values&)>& body) {
  const auto tell = [&line](const Error& error) {
    if (base::logs_json()) {  // then every line is an object
      base::log().error("{}", error.what());
      return exit_code(error.kind());
    }
    return complain(line.name, error.what(), exit_code(error.kind()));
  };
  const auto values = parse_options(line, words);
  if (!values) return tell(values.error());
  if (values->count("help") != 0) {
    print_help(line);
    return kExitOk;
  }
  base::init_log(line.name, line.logs_info ? spdlog::level::info : spdlog::level::warn);
  const auto done = body(*values);
  return done ? *done : tell(done.error());
}

int run_command(const CommandLine& line, const std::vector<std::string>& words,
                const std::function<Result<void>(const Values&)>& body) {
  return run_command_for_code(line, words, [&body](const Values& values) -> Result<int> {
    const auto done = body(values);
    if (!done) return tl::unexpected<Error>(done.error());
    return kExitOk;
  });
}

int list_command(const CommandLine& line, const std::vector<std::string>& words,
                 const std::function<Result<Listing>(const Values&)>& body) {
  return run_command(line, words, [&body](const Values& values) -> Result<void> {
    const auto format = output_format(values);
    if (!format) return tl::unexpected<Error>(format.error());
    const auto listing = body(values);
    if (!listing) return tl::unexpected<Error>(listing.error());
    std::cout << (*format == OutputFormat::kJson ? listing->json : listing->table);
    return {};
  });
}

}  // namespace sublet::cli
