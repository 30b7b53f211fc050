#pragma once

#include <resource_manager/resource_manager_service.hpp>

#include <kj/async.h>
#include <kj/compat/http.h>
#include <web/load_history.hpp>
#include <web/metrics.hpp>
#include <web/reply.hpp>
#include <web/request_target.hpp>
#include <web/web_access.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::manager::web {

/// A request that may be answered: it is for this host, and who asks is known as far as he can be.
struct WebRequest {
  RequestTarget target;
  std::vector<std::string> captured;  ///< What stood where the route has {...}.
  std::string body;
  WebAccess::Asker asker;
};

/// What the handlers answer from. Owner: the web server; on its thread.
struct ApiContext {
  ResourceManagerService& service;
  LoadHistory history{};
  WebCounters counters{};
  const ConnectionTable::State* web_connections = nullptr;
  const ConnectionTable::State* connections = nullptr;
};

enum class RouteKind : std::uint8_t {
  kOpen,     ///< Whoever reaches this may see it: it says nothing of users or nodes.
  kReads,    ///< By the caller's rights.
  kChanges,  ///< By the caller's rights, and with a token.
  kStream,   ///< As kReads; events go on as long as somebody reads them.
};

/// One thing that can be asked for.
struct Route {
  kj::HttpMethod method;
  std::string_view path;  ///< "/api/v1/nodes/{node}/drain".
  RouteKind kind;
  /// Null for kStream.
  kj::Promise<Reply> (*answer)(ApiContext&, const WebRequest&);
};

/// All of them; openapi.json describes those below /api.
std::span<const Route> routes();

/// Which route `path` is for; the first that fits, of any method. Null: none.
struct RouteMatch {
  const Route* route = nullptr;
  std::vector<std::string> captured{};
  bool other_method = false;  ///< The path is known, but not with this method.
};
RouteMatch find_route(kj::HttpMethod method, const std::vector<std::string>& path);

}  // namespace sublet::manager::web
