#include <cli/command.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <executor/library/elf_functions.hpp>
#include <wire/limits.hpp>

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine functions_command_line() {
  CommandLine line;
  line.name = "functions";
  line.arguments = "LIBRARY [OPTIONS]";
  line.about =
      "Lists the functions that a shared object exports, without loading it: those in the typed\n"
      "form of <sublet/function.hpp> with the sizes they take and give, and all others as rfaas,\n"
      "the form uint32_t f(void* args, uint32_t size, void* res).";
  line.options.add_options()("library", po::value<std::string>()->required(), "the shared object");
  line.positional = "library";
  add_output_option(line);
  return line;
}

namespace {

using executor::ExportedFunction;

Result<std::vector<std::byte>> read_library(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return fail(ErrorKind::kUnsupported, "reading '" + path + "': " + error.message());
  if (size > wire::kMaxLibraryBytes) {
    return fail(ErrorKind::kUnsupported, "'" + path + "' has " + std::to_string(size >> 20) +
                                             " MiB; a function library has at most " +
                                             std::to_string(wire::kMaxLibraryBytes >> 20));
  }
  std::vector<std::byte> bytes(size);
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    return fail(ErrorKind::kUnsupported, "reading '" + path + "': " + std::strerror(errno));
  }
  return bytes;
}

/// What will keep the library from loading on a node although it loads here.
std::vector<std::string> warnings_of(const std::string& path, const executor::LibraryNeeds& needs) {
  const auto folder = std::filesystem::absolute(path).parent_path();
  std::vector<std::filesystem::path> beside = {folder};
  std::istringstream run_path(needs.run_path);
  for (std::string one; std::getline(run_path, one, ':');) {
    for (const std::string origin : {"$ORIGIN", "${ORIGIN}"}) {
      const std::size_t at = one.find(origin);
      if (at == std::string::npos) continue;
      beside.emplace_back(one.replace(at, origin.size(), folder.string()));
    }
  }
  std::vector<std::string> warnings;
  for (const std::string& needed : needs.libraries) {
    std::error_code ignored;
    const auto here = std::find_if(beside.begin(), beside.end(), [&](const auto& directory) {
      return std::filesystem::exists(directory / needed, ignored);
    });
    if (here != beside.end()) {
      warnings.push_back("it needs " + needed + ", which lies in " +
                         here->lexically_normal().string() +
                         ": only the library's own content travels to a node; link that into it, "
                         "or install it on the nodes");
    }
    if (const char* flag = executor::sanitizer_flag(needed)) {
      warnings.push_back("it needs " + needed + " (" + flag + "), which executors do not load");
    }
  }
  return warnings;
}

nlohmann::json to_json(const std::string& path, const std::vector<ExportedFunction>& exported,
                       const std::vector<std::string>& warnings) {
  auto functions = nlohmann::json::array();
  for (const ExportedFunction& function : exported) {
    nlohmann::json entry = {{"name", function.name}, {"form", function.typed ? "typed" : "rfaas"}};
    if (function.typed) {
      entry["abi_version"] = function.abi_version;
      entry["input_size"] = function.input_size;
      entry["output_size"] = function.output_size;
    }
    functions.push_back(std::move(entry));
  }
  return {{"library", path}, {"functions", functions}, {"warnings", warnings}};
}

std::string size_text(bool typed, std::uint64_t size) {
  if (!typed) return "-";
  return size == 0 ? "varies" : std::to_string(size);
}

std::string to_table(const std::vector<ExportedFunction>& exported,
                     const std::vector<std::string>& warnings) {
  std::vector<std::vector<std::string>> rows = {{"FUNCTION", "FORM", "INPUT", "OUTPUT"}};
  for (const ExportedFunction& function : exported) {
    rows.push_back({function.name, function.typed ? "typed" : "rfaas",
                    size_text(function.typed, function.input_size),
                    size_text(function.typed, function.output_size)});
  }
  std::string text = format_table(rows);
  for (const std::string& warning : warnings) text += "warning: " + warning + "\n";
  return text;
}

}  // namespace

int functions_command(const std::vector<std::string>& words) {
  return list_command(functions_command_line(), words, [](const Values& values) -> Result<Listing> {
    const auto& path = values["library"].as<std::string>();
    const auto bytes = read_library(path);
    if (!bytes) return tl::unexpected<Error>(bytes.error());
    const auto functions = executor::elf_functions(*bytes);
    if (!functions) {
      return fail(ErrorKind::kUnsupported, "'" + path + "': " + functions.error().what());
    }
    const auto needs = executor::library_needs(*bytes);
    const auto warnings = needs ? warnings_of(path, *needs) : std::vector<std::string>{};
    return Listing{to_table(*functions, warnings),
                   to_json(path, *functions, warnings).dump(2) + "\n"};
  });
}

}  // namespace sublet::cli
