#pragma once

#include <sublet/result.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::base {

/// A place on an IP network: "node7:4711", "10.0.0.7:4711" or "[fe80::1%eth0]:4711". A value.
struct HostPort {
  std::string host;  ///< A name or an address, an IPv6 address without its brackets; or "*".
  std::uint16_t port = 0;

  /// kInvalid for anything else; the text says only what is wrong, not with what.
  static Result<HostPort> parse(const std::string& text);

  /// The inverse of parse.
  [[nodiscard]] std::string to_string() const;
};

/// The items of a list separated by commas; empty ones are left out.
[[nodiscard]] std::vector<std::string> split_list(const std::string& list);

}  // namespace sublet::base
