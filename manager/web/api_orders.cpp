#include <wire/convert.hpp>
#include <wire/limits.hpp>

#include <nlohmann/json.hpp>
#include <web/api_orders.hpp>

#include <algorithm>
#include <charconv>
#include <initializer_list>

namespace sublet::manager::web {
namespace {

using OrderJson = nlohmann::json;

constexpr milliseconds kDefaultDrain{30'000};

/// The object that came with a request, an empty one where nothing did. kInvalid names what is in
/// it and means nothing, so that a mistyped name does not go unseen.
Result<OrderJson> read_order(const std::string& body, std::initializer_list<const char*> names) {
  if (body.empty()) return OrderJson::object();
  OrderJson order = OrderJson::parse(body, nullptr, false);
  if (!order.is_object()) return fail(ErrorKind::kInvalid, "the body must be one JSON object");
  for (const auto& [name, value] : order.items()) {
    if (std::find_if(names.begin(), names.end(),
                     [&name = name](const char* known) { return name == known; }) != names.end()) {
      continue;
    }
    std::string all;
    for (const char* const known : names) all += (all.empty() ? "" : ", ") + std::string(known);
    return fail(ErrorKind::kInvalid, "'" + name + "' means nothing here; there are: " + all);
  }
  return order;
}

Result<std::string> text_of(const OrderJson& order, const char* name) {
  if (!order.contains(name)) return std::string();
  if (!order[name].is_string()) {
    return fail(ErrorKind::kInvalid, std::string(name) + " must be a text");
  }
  return wire::cut_text(order[name].get<std::string>(), wire::kMaxText);
}

Result<bool> flag_of(const OrderJson& order, const char* name) {
  if (!order.contains(name)) return false;
  if (!order[name].is_boolean()) {
    return fail(ErrorKind::kInvalid, std::string(name) + " must be true or false");
  }
  return order[name].get<bool>();
}

Result<milliseconds> limit_of(const OrderJson& order) {
  if (!order.contains("limit_ms")) return kDefaultDrain;
  constexpr std::uint64_t kMost = milliseconds(wire::kDrainMax).count();
  const OrderJson& limit = order["limit_ms"];
  if (limit.is_number_unsigned() && limit.get<std::uint64_t>() <= kMost) {
    return milliseconds(limit.get<std::int64_t>());
  }
  return fail(ErrorKind::kInvalid,
              "limit_ms must be a whole number from 0 to " + std::to_string(kMost));
}

/// The same refusal that the command gets.
std::optional<Reply> refused(const ApiContext& context, const WebRequest& request, Right right) {
  const auto may = authorize(request.asker.caller, right, context.service.operators());
  if (may) return std::nullopt;
  return Reply::error(may.error(), request.asker.caller.proved());
}

kj::Promise<Reply> order_drain(ApiContext& context, const WebRequest& request,
                               ResourceManagerService::DrainOrder order) {
  OrderJson answer = {
      {"node", order.node}, {"ordered", "drain"}, {"limit_ms", order.limit.count()}};
  return context.service.drain(std::move(order), request.asker.caller)
      .then([answer = std::move(answer)](Result<ResourceManagerService::DrainReports>&& told) {
        if (!told) return Reply::error(told.error());
        return Reply::json(answer.dump(-1, ' ', false, OrderJson::error_handler_t::replace) + "\n",
                           202);
      });
}

}  // namespace

kj::Promise<Reply> drain_node(ApiContext& context, const WebRequest& request) {
  if (auto refusal = refused(context, request, Right::kDrain)) return std::move(*refusal);
  const auto order = read_order(request.body, {"limit_ms", "reason", "own_notice"});
  if (!order) return Reply::error(order.error());
  const auto limit = limit_of(*order);
  if (!limit) return Reply::error(limit.error());
  const auto reason = text_of(*order, "reason");
  if (!reason) return Reply::error(reason.error());
  const auto own_notice = flag_of(*order, "own_notice");
  if (!own_notice) return Reply::error(own_notice.error());
  return order_drain(context, request,
                     {request.captured.at(0), *limit, *reason, false, *own_notice});
}

kj::Promise<Reply> cancel_drain(ApiContext& context, const WebRequest& request) {
  if (auto refusal = refused(context, request, Right::kDrain)) return std::move(*refusal);
  const std::string node = request.captured.at(0);
  return context.service.cancel_drain(node, request.asker.caller).then([node](Result<void>&& done) {
    if (!done) return Reply::error(done.error());
    const OrderJson answer = {{"node", node}, {"ordered", "cancel-drain"}};
    return Reply::json(answer.dump(-1, ' ', false, OrderJson::error_handler_t::replace) + "\n");
  });
}

kj::Promise<Reply> remove_node(ApiContext& context, const WebRequest& request) {
  if (auto refusal = refused(context, request, Right::kForget)) return std::move(*refusal);
  const std::string& node = request.captured.at(0);
  const auto named = context.service.book().nodes().named(node);
  if (!named) return Reply::error(named.error());
  const bool lost = std::none_of(named->begin(), named->end(), [&](NodeNumber number) {
    return context.service.book().nodes().is_up(number);
  });
  if (!lost) {
    return order_drain(context, request, {node, kDefaultDrain, "removed over HTTP", false, false});
  }
  const auto forgotten = context.service.forget(node, request.asker.caller);
  if (!forgotten) return Reply::error(forgotten.error());
  const OrderJson answer = {{"node", node},
                            {"ordered", "forget"},
                            {"nodes", forgotten->nodes},
                            {"leases", forgotten->leases}};
  return Reply::json(answer.dump(-1, ' ', false, OrderJson::error_handler_t::replace) + "\n");
}

kj::Promise<Reply> release_lease(ApiContext& context, const WebRequest& request) {
  const std::string& text = request.captured.at(0);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Reply::error(400, "invalid", "'" + text + "' is no number of a lease");
  }
  const LeaseId lease{number};
  // A lease that is not known is refused by who looks for it.
  const auto owner = context.service.owner_uid(lease);
  const auto may =
      owner ? authorize_for(request.asker.caller, *owner, Right::kReleaseOthers,
                            context.service.operators())
            : authorize(request.asker.caller, Right::kLease, context.service.operators());
  if (!may) return Reply::error(may.error(), request.asker.caller.proved());
  const auto order = read_order(request.body, {"reason", "notice"});
  if (!order) return Reply::error(order.error());
  const auto reason = text_of(*order, "reason");
  if (!reason) return Reply::error(reason.error());
  const auto notice = flag_of(*order, "notice");
  if (!notice) return Reply::error(notice.error());
  return context.service.release(lease, *reason, request.asker.caller, *notice)
      .then([number](Result<milliseconds>&& left) {
        if (!left) return Reply::error(left.error());
        return Reply::json(OrderJson{{"lease", number}, {"left_ms", left->count()}}.dump() + "\n");
      });
}

}  // namespace sublet::manager::web
