#pragma once

#include <sublet/result.hpp>

#include <cstdint>
#include <string>

namespace sublet::wire {

/// Where a manager listens: unix:PATH, unix:@NAME (abstract: leaves no file behind, whatever
/// happens) or tcp:HOST:PORT. A value.
struct Address {
  enum class Kind : std::uint8_t { kUnix, kTcp };

  Kind kind = Kind::kUnix;
  std::string path;        ///< kUnix; an abstract name begins with '@'.
  std::string host;        ///< kTcp; an IPv6 address without its brackets. "*" listens everywhere.
  std::uint16_t port = 0;  ///< kTcp; 0 only to listen on any free port.

  /// As a person writes it; kInvalid says what is wrong with it.
  static Result<Address> parse(const std::string& text);

  [[nodiscard]] bool is_abstract() const { return path.starts_with('@'); }

  /// The inverse of parse.
  [[nodiscard]] std::string to_string() const;

  /// As kj::Network::parseAddress takes it.
  [[nodiscard]] std::string to_kj() const;
};

}  // namespace sublet::wire
