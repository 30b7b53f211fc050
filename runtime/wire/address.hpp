#pragma once

#include <cstdint>
#include <string>
#include <sublet/result.hpp>

namespace sublet::wire {

/// Where a manager listens: unix:PATH or tcp:HOST:PORT. A value.
struct Address {
  enum class Kind : std::uint8_t { kUnix, kTcp };

  Kind kind = Kind::kUnix;
  std::string path;        ///< kUnix.
  std::string host;        ///< kTcp; an IPv6 address without its brackets. "*" listens everywhere.
  std::uint16_t port = 0;  ///< kTcp; 0 only to listen on any free port.

  /// As a person writes it; kInvalid says what is wrong with it.
  static Result<Address> parse(const std::string& text);

  /// The inverse of parse.
  [[nodiscard]] std::string to_string() const;

  /// As kj::Network::parseAddress takes it.
  [[nodiscard]] std::string to_kj() const;
};

}  // namespace sublet::wire
