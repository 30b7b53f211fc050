#pragma once

#include <sublet/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace sublet::client {

/// The program of this process, for executors to run: it has functions of its own.
struct Application {
  std::string name;  ///< For messages.
  std::array<std::uint8_t, 32> sha256{};
  std::span<const std::byte> content;  ///< Mapped as long as the process lives.
  std::string surroundings;            ///< wire/application_text.hpp
};

/// Null when sublet::init has not been called and the program has no functions of its own either;
/// without that kNoInit. The first call that finds one computes its hash. Any thread.
Result<const Application*> this_application();

}  // namespace sublet::client
