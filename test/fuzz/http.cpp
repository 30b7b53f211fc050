// What comes over HTTP, behind KJ's parser: the target of a request, and what it says of who asks.

#include "target.hpp"

#include <nlohmann/json.hpp>
#include <web/api.hpp>
#include <web/json_text.hpp>
#include <web/limits.hpp>
#include <web/web_access.hpp>

namespace sublet::fuzz {
namespace {

using manager::web::WebAccess;

/// Lines: target, Host, Authorization, Origin.
void run_http_requests(std::span<const std::byte> input) {
  std::string rest = text_of(input);
  const auto line = [&rest] {
    const std::size_t end = rest.find('\n');
    const std::string text = rest.substr(0, end);
    rest.erase(0, end == std::string::npos ? rest.size() : end + 1);
    return text;
  };
  const auto target = manager::web::RequestTarget::parse(line());
  if (target) {
    require(target->query.size() <= manager::web::kMaxQuery, "a query has too many names");
    for (const std::string& part : target->path) {
      require(!part.empty() && part.size() <= manager::web::kMaxSegment, "a bad part of a path");
    }
    for (const auto method : {kj::HttpMethod::GET, kj::HttpMethod::POST, kj::HttpMethod::DELETE}) {
      const auto match = manager::web::find_route(method, target->path);
      require(match.route == nullptr || match.route->method == method, "another method's route");
    }
    std::string text;
    for (const auto& [name, value] : target->query) {
      text.clear();
      manager::web::append_quoted(text, value);
      require(nlohmann::json::accept(text), "a quoted text is no JSON");
    }
  }
  const std::string host = line();
  const std::string authorization = line();
  const std::string origin = line();
  const WebAccess access({{{1, 2, 3}, 7}}, {"localhost"});
  WebAccess::Claims claims;
  claims.host = host;
  claims.authorization = authorization;
  claims.origin = origin;
  const bool for_us = access.check_host(claims).has_value();
  require(!for_us || !host.empty(), "a request without a host is for this one");
  (void)WebAccess::check_origin(claims);
  const auto asker = access.asker({}, claims);
  require(!asker || authorization.empty() || asker->by_token, "a bad token is taken for none");
}

std::vector<Bytes> http_request_seeds() {
  return {bytes_of("/api/v1/nodes/n%201/drain?x=1&y=%41\nlocalhost:80\nBearer "
                   "AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nhttp://localhost:80"),
          bytes_of("/\n[::1]:1\n\nnull")};
}

const Registered http_requests({"http_requests", run_http_requests, http_request_seeds});

}  // namespace
}  // namespace sublet::fuzz
