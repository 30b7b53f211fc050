#pragma once

#include <cstdint>

/// What the test function `surroundings` returns.
struct Surroundings {
  std::uint32_t uid, gid, no_new_privs, open_files, cores;
  std::int32_t core;
  std::uint64_t core_dump_bytes, data_bytes;
  std::int32_t oom_score;
};
