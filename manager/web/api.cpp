#include <common/ledger_views.hpp>
#include <common/views.hpp>

#include <nlohmann/json.hpp>
#include <web/api.hpp>
#include <web/api_orders.hpp>
#include <web/assets.hpp>
#include <web/page_data.hpp>

#include <array>
#include <charconv>

namespace sublet::manager::web {
namespace {

using nlohmann::json;

kj::Promise<Reply> refusal(const WebRequest& request, const Error& error) {
  return Reply::error(error, request.asker.caller.proved());
}

/// What the caller may see, or the refusal.
Result<Viewer> viewer_of(const ApiContext& context, const WebRequest& request) {
  return Viewer::of(request.asker.caller, context.service.operators());
}

kj::Promise<Reply> health(ApiContext& context, const WebRequest&) {
  if (context.service.ready()) return Reply::text("ok\n");
  return Reply::text("nothing can be leased: the ledger cannot be written; the log says why\n",
                     503);
}

kj::Promise<Reply> metrics(ApiContext& context, const WebRequest& request) {
  const auto viewer = viewer_of(context, request);
  if (!viewer) return refusal(request, viewer.error());
  Reply reply = Reply::text(metrics_text(
      {context.service, context.counters, context.web_connections, context.connections}, *viewer));
  reply.type = "text/plain; version=0.0.4; charset=utf-8";
  return reply;
}

template <const char* kName>
kj::Promise<Reply> asset(ApiContext&, const WebRequest&) {
  const Asset* const found = find_asset(kName);
  if (found == nullptr) return Reply::error(500, "internal", std::string(kName) + " is missing");
  Reply reply = Reply::json(std::string(found->text));
  reply.type = found->type;
  return reply;
}

kj::Promise<Reply> nodes(ApiContext& context, const WebRequest& request) {
  const auto viewer = viewer_of(context, request);
  if (!viewer) return refusal(request, viewer.error());
  return Reply::json(to_json(context.service.book().nodes().views(context.service.now())) + "\n");
}

kj::Promise<Reply> drains(ApiContext& context, const WebRequest& request) {
  const auto viewer = viewer_of(context, request);
  if (!viewer) return refusal(request, viewer.error());
  auto draining = context.service.book().nodes().views(context.service.now());
  std::erase_if(draining, [](const NodeInfo& node) { return node.state != "draining"; });
  return Reply::json(to_json(draining) + "\n");
}

kj::Promise<Reply> leases(ApiContext& context, const WebRequest& request) {
  const auto viewer = viewer_of(context, request);
  if (!viewer) return refusal(request, viewer.error());
  const std::string all = request.target.value("all");
  if (!all.empty() && all != "true" && all != "false") {
    return Reply::error(400, "invalid", "all is '" + all + "'; it must be true or false");
  }
  const ResourceManagerService& service = context.service;
  auto views = service.book().grants().leases(all == "true", viewer->only_uid);
  auto waiting = service.desk().waiting(viewer->only_uid, service.now());
  std::move(waiting.begin(), waiting.end(), std::back_inserter(views));
  return Reply::json(to_json(views) + "\n");
}

kj::Promise<Reply> quotas(ApiContext& context, const WebRequest& request) {
  const auto viewer = viewer_of(context, request);
  if (!viewer) return refusal(request, viewer.error());
  auto infos = context.service.desk().quotas(viewer->only_uid, context.service.now());
  for (wire::QuotaInfo& info : infos) {
    if (!info.everybody && info.uid != kUnknownUid) info.user = user_name(info.uid);
  }
  return Reply::json(to_json(infos) + "\n");
}

/// A number of a query; 0 where it is not there.
template <class Number>
Result<Number> number_in(const RequestTarget& target, const std::string& name) {
  const std::string text = target.value(name);
  Number number{};
  if (text.empty()) return number;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 0) return number;
  return fail(ErrorKind::kInvalid, name + " is '" + text + "'; it must be a number from 0 on");
}

Result<wire::LedgerFilter> ledger_filter(const RequestTarget& target) {
  using Grouping = wire::LedgerGrouping;
  wire::LedgerFilter filter;
  const std::string by = target.value("by");
  constexpr std::array kBy = {std::pair("", Grouping::GRANTS), std::pair("user", Grouping::USERS),
                              std::pair("job", Grouping::JOBS),
                              std::pair("lease", Grouping::LEASES),
                              std::pair("node", Grouping::NODES)};
  const auto* const known =
      std::find_if(kBy.begin(), kBy.end(), [&](const auto& entry) { return by == entry.first; });
  if (known == kBy.end()) {
    return fail(ErrorKind::kInvalid, "by is '" + by + "'; it must be user, job, lease or node");
  }
  filter.grouping = known->second;
  filter.user = target.value("user");
  filter.node = target.value("node");
  const auto job = number_in<std::uint32_t>(target, "job");
  const auto lease = number_in<std::uint64_t>(target, "lease");
  const auto since = number_in<std::int64_t>(target, "since_unix_ms");
  const auto until = number_in<std::int64_t>(target, "until_unix_ms");
  const auto after = number_in<std::int64_t>(target, "after");
  if (!job) return tl::unexpected<Error>(job.error());
  if (!lease) return tl::unexpected<Error>(lease.error());
  for (const auto* const number : {&since, &until, &after}) {
    if (!*number) return tl::unexpected<Error>(number->error());
  }
  filter.job = *job;
  filter.lease_id = *lease;
  filter.since_unix_ms = *since;
  filter.until_unix_ms = *until;
  filter.after = *after;
  return filter;
}

kj::Promise<Reply> ledger(ApiContext& context, const WebRequest& request) {
  const auto viewer = viewer_of(context, request);
  if (!viewer) return refusal(request, viewer.error());
  auto filter = ledger_filter(request.target);
  if (!filter) return refusal(request, filter.error());
  if (!authorize(request.asker.caller, Right::kViewLedger, context.service.operators())) {
    filter->only_uid = request.asker.caller.uid;
  }
  const auto grouping = filter->grouping;
  return context.service.read_ledger(std::move(*filter))
      .then([grouping](Result<wire::LedgerPage>&& page) -> Reply {
        if (!page) return Reply::error(page.error());
        return Reply::json(ledger_json(grouping, page->rows, page->next) + "\n");
      });
}

kj::Promise<Reply> page_data(ApiContext& context, const WebRequest& request) {
  const auto viewer = viewer_of(context, request);
  if (!viewer) return refusal(request, viewer.error());
  return Reply::json(R"({"overview":)" + overview_json(context.service, *viewer) + R"(,"tick":)" +
                     tick_json(context.service, context.history, *viewer) + R"(,"history":)" +
                     context.history.to_json() + "}\n");
}

constexpr char kPage[] = "index.html";
constexpr char kStyle[] = "page.css";
constexpr char kScript[] = "page.js";
constexpr char kMap[] = "map.js";
constexpr char kCharts[] = "charts.js";
constexpr char kDescription[] = "openapi.json";

}  // namespace

std::span<const Route> routes() {
  using enum kj::HttpMethod;
  static const std::array kRoutes = {
      Route{GET, "/", RouteKind::kOpen, &asset<kPage>},
      Route{GET, "/page.css", RouteKind::kOpen, &asset<kStyle>},
      Route{GET, "/page.js", RouteKind::kOpen, &asset<kScript>},
      Route{GET, "/map.js", RouteKind::kOpen, &asset<kMap>},
      Route{GET, "/charts.js", RouteKind::kOpen, &asset<kCharts>},
      Route{GET, "/healthz", RouteKind::kOpen, &health},
      Route{GET, "/metrics", RouteKind::kReads, &metrics},
      Route{GET, "/events", RouteKind::kStream, nullptr},
      Route{GET, "/api/v1/openapi.json", RouteKind::kOpen, &asset<kDescription>},
      Route{GET, "/api/v1/page", RouteKind::kReads, &page_data},
      Route{GET, "/api/v1/nodes", RouteKind::kReads, &nodes},
      Route{DELETE, "/api/v1/nodes/{node}", RouteKind::kChanges, &remove_node},
      Route{GET, "/api/v1/drains", RouteKind::kReads, &drains},
      Route{POST, "/api/v1/nodes/{node}/drain", RouteKind::kChanges, &drain_node},
      Route{POST, "/api/v1/nodes/{node}/cancel-drain", RouteKind::kChanges, &cancel_drain},
      Route{GET, "/api/v1/leases", RouteKind::kReads, &leases},
      Route{POST, "/api/v1/leases/{lease}/release", RouteKind::kChanges, &release_lease},
      Route{GET, "/api/v1/quotas", RouteKind::kReads, &quotas},
      Route{GET, "/api/v1/ledger", RouteKind::kReads, &ledger},
  };
  return kRoutes;
}

RouteMatch find_route(kj::HttpMethod method, const std::vector<std::string>& path) {
  if (method == kj::HttpMethod::HEAD) method = kj::HttpMethod::GET;
  RouteMatch match;
  for (const Route& route : routes()) {
    std::string_view rest = route.path.substr(1);
    std::vector<std::string> captured;
    std::size_t at = 0;
    bool fits = true;
    while (fits && !rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      fits = at < path.size() && (part.starts_with('{') || part == path[at]);
      if (fits && part.starts_with('{')) captured.push_back(path[at]);
      ++at;
    }
    if (!fits || at != path.size()) continue;
    if (route.method == method) return {&route, std::move(captured), false};
    match.other_method = true;
  }
  return match;
}

}  // namespace sublet::manager::web
