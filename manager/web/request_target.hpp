#pragma once

#include <sublet/result.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::manager::web {

/// The path and the query of a request: "/api/v1/nodes/n1?all=1". A value.
struct RequestTarget {
  std::vector<std::string> path;  ///< Its parts, decoded: {"api", "v1", "nodes", "n1"}.
  std::map<std::string, std::string> query;

  /// kInvalid says what is wrong with it: it comes from whoever connects.
  static Result<RequestTarget> parse(std::string_view text);

  /// Empty when the query has no such name.
  [[nodiscard]] std::string value(const std::string& name) const;
};

}  // namespace sublet::manager::web
