#pragma once

// How an executor goes on in an application's own program. The executor prepares a process as for
// any lease, and then runs the program in its place: from a sealed memory file, with what it needs
// in inherited descriptors. libsublet_application.so, which is loaded before all else of the
// program, takes main()'s place there (application_main.cpp).

#include <sublet/result.hpp>
#include <wire/executor_protocol.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sublet::executor {

/// What the program's process finds in a sealed memory file. Both ends are of one build.
struct ApplicationOrder {
  static constexpr std::uint64_t kMagic = 0x7375626c65743133;
  static constexpr std::size_t kMostText = 8192;

  std::uint64_t magic = kMagic;
  std::uint64_t size = sizeof(ApplicationOrder);
  wire::Spawn spawn{};
  wire::Become become{};
  double ticks_per_ns = 0;
  // Inherited descriptors.
  std::int32_t control = -1;
  std::int32_t data = -1;
  std::int32_t accounting = -1;
  std::int32_t surroundings = -1;
  std::int32_t preloaded = -1;
  // Variables as they were before: the linker has read them.
  std::array<char, kMostText> preload{};
  std::array<char, kMostText> library_path{};
};

/// Where an executor is.
struct Place {
  const wire::Spawn& order;
  int control;
  int data;
  int accounting;
};

/// Runs the program in `program` with `surroundings`, both sealed memory files, in place of this
/// one. Returns only why not.
Error run_application(const wire::Become& become, int program, int surroundings,
                      const Place& place);

}  // namespace sublet::executor
