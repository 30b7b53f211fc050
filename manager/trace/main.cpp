// `sublet-trace-otf2 TIMELINE DIRECTORY`, which `sublet trace convert` runs: a program of its own,
// so that the command needs no OTF2.

#include <trace/otf2_archive.hpp>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: sublet-trace-otf2 TIMELINE DIRECTORY\n", stderr);
    return 2;
  }
  auto timeline = sublet::trace::Timeline::read(argv[1]);
  if (timeline) timeline->nest();
  const auto written = timeline ? sublet::trace::write_otf2(*timeline, argv[2])
                                : sublet::Result<void>(tl::unexpected(timeline.error()));
  if (written) return 0;
  std::fprintf(stderr, "sublet: %s\n", written.error().what());
  return written.error().kind() == sublet::ErrorKind::kInvalid ? 2 : 1;
}
