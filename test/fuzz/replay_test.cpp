// Every target with the inputs that once crashed it (corpus/NAME) and those that its mutations
// begin with: what the fuzzers have found stays mended, without a fuzzer.

#include "target.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sublet::fuzz {
namespace {

namespace fs = std::filesystem;

Bytes read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return bytes_of(std::string(std::istreambuf_iterator<char>(file), {}));
}

std::string name_of(const testing::TestParamInfo<Target>& info) {
  return info.param.name;
}

class Replay : public testing::TestWithParam<Target> {};

TEST_P(Replay, TakesWhatHasCrashedItOnce) {
  for (const auto& entry : fs::directory_iterator(fs::path(FUZZ_CORPUS) / GetParam().name)) {
    SCOPED_TRACE(entry.path());
    GetParam().run(read_file(entry.path()));
  }
}

/// And each of them cut short, and with a byte changed.
TEST_P(Replay, TakesWhatItsMutationsBeginWith) {
  const auto seeds = GetParam().seeds();
  EXPECT_FALSE(seeds.empty());
  for (const Bytes& seed : seeds) {
    GetParam().run(seed);
    const std::size_t step = std::max<std::size_t>(1, seed.size() / 16);
    for (std::size_t at = 0; at < seed.size(); at += step) {
      GetParam().run(std::span(seed).first(at));
      Bytes changed = seed;
      changed[at] ^= std::byte{0xff};
      GetParam().run(changed);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Replay, testing::ValuesIn(targets()), name_of);

/// A folder without a target would never be looked at.
TEST(Corpus, HasAFolderForEachTargetAndNoOther) {
  std::vector<std::string> folders;
  for (const auto& entry : fs::directory_iterator(FUZZ_CORPUS)) {
    folders.push_back(entry.path().filename().string());
  }
  std::vector<std::string> names;
  for (const Target& target : targets()) names.emplace_back(target.name);
  std::sort(folders.begin(), folders.end());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(folders, names);
}

}  // namespace
}  // namespace sublet::fuzz
