// `sublet bench single-source`: what functions of the program itself cost beside those of a
// library. A program of its own, so that it is the application, and the `sublet` command is none.

#include "measure.hpp"
#include <sublet/sublet.hpp>

#include <bench/report.hpp>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

int complain(const sublet::Error& error, int code) {
  std::fprintf(stderr, "sublet bench: %s\n", error.what());
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], sublet::bench::kEndAtOnce) == 0) return 0;
  sublet::init(argc, argv);
  const auto parsed = sublet::bench::parse_bench({argv + 1, argv + argc});
  if (!parsed) return complain(parsed.error(), 2);
  const auto* options = std::get_if<sublet::bench::SingleSourceOptions>(&*parsed);
  if (options == nullptr) return 2;
  auto file = sublet::bench::JsonFile::open(options->json_file);
  if (!file) return complain(file.error(), 2);
  sublet::bench::Progress progress;
  const auto report = sublet::bench::measure_single_source(*options, progress);
  progress.clear();
  if (!report) return complain(report.error(), 1);
  const std::string json = sublet::bench::to_json(*report);
  const bool json_only = options->json_file == "-";
  std::fputs(json_only ? json.c_str() : sublet::bench::to_table(*report).c_str(), stdout);
  if (auto written = file->write(json); !written) return complain(written.error(), 1);
  return 0;
}
