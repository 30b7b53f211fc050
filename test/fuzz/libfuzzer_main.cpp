// libFuzzer's entry: mutates the input of the target that SUBLET_FUZZ_TARGET names. With
// SUBLET_FUZZ_SEEDS=DIR it writes what that begins with there, and ends.

#include "target.hpp"
#include <base/log.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

namespace {

using sublet::fuzz::Target;

const Target* chosen = nullptr;

void write_seeds(const Target& target, const std::string& directory) {
  int number = 0;
  for (const auto& seed : target.seeds()) {
    std::ofstream file(directory + "/seed-" + std::to_string(number++), std::ios::binary);
    file.write(reinterpret_cast<const char*>(seed.data()),
               static_cast<std::streamsize>(seed.size()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  sublet::base::init_log("fuzz", spdlog::level::off);
  const char* const name = std::getenv("SUBLET_FUZZ_TARGET");
  const auto& all = sublet::fuzz::targets();
  const auto found = std::find_if(all.begin(), all.end(), [name](const Target& target) {
    return name != nullptr && std::string(target.name) == name;
  });
  if (found == all.end()) {
    std::fprintf(stderr, "fuzz: SUBLET_FUZZ_TARGET must be one of:");
    for (const Target& target : all) std::fprintf(stderr, " %s", target.name);
    std::fprintf(stderr, "\n");
    std::exit(2);
  }
  chosen = &*found;
  if (const char* const seeds = std::getenv("SUBLET_FUZZ_SEEDS"); seeds != nullptr) {
    write_seeds(*chosen, seeds);
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->run(std::as_bytes(std::span(data, size)));
  return 0;
}
