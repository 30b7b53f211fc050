#pragma once

#include <sublet/result.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sublet::manager::web {

/// What a request is answered with. A value; copies share the body.
struct Reply {
  unsigned status = 200;
  std::string type = "application/json; charset=utf-8";
  std::shared_ptr<const std::string> body = std::make_shared<const std::string>();
  std::vector<std::pair<std::string, std::string>> headers{};

  static Reply json(std::string text, unsigned status = 200);
  static Reply text(std::string text, unsigned status = 200);
  /// {"error": {"kind": "denied", "message": "..."}}.
  static Reply error(unsigned status, std::string_view kind, std::string_view message);
  /// The same with the status that goes with the error's kind. `proved`: it is known who asks, so
  /// that other credentials are what he lacks, not some.
  static Reply error(const Error& error, bool proved = true);
};

/// "Not Found", for the first line of an answer.
[[nodiscard]] const char* status_text(unsigned status) noexcept;

}  // namespace sublet::manager::web
