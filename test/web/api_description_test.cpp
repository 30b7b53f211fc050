// openapi.json against what the server answers.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <web/api.hpp>
#include <web/assets.hpp>

#include <set>

namespace sublet::manager::web {
namespace {

using nlohmann::json;

json description() {
  const Asset* const asset = find_asset("openapi.json");
  return asset == nullptr ? json() : json::parse(asset->text, nullptr, false);
}

std::string small(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

TEST(ApiDescription, NamesEveryRouteAndNoOther) {
  const json described = description();
  ASSERT_TRUE(described.is_object());
  EXPECT_EQ(described.at("openapi"), "3.1.0");
  std::set<std::string> in_text;
  for (const auto& [path, methods] : described.at("paths").items()) {
    for (const auto& [method, unused] : methods.items()) in_text.insert(method + " " + path);
  }
  std::set<std::string> served;
  for (const Route& route : routes()) {
    if (!route.path.starts_with("/api/")) continue;
    served.insert(small(kj::str(route.method).cStr()) + " " + std::string(route.path));
  }
  EXPECT_EQ(in_text, served);
}

TEST(ApiDescription, SaysWhatNeedsAToken) {
  const json paths = description().at("paths");
  const json only_token = {{{"token", json::array()}}};
  for (const Route& route : routes()) {
    if (!route.path.starts_with("/api/")) continue;
    const json& operation =
        paths.at(std::string(route.path)).at(small(kj::str(route.method).cStr()));
    const bool needs = operation.contains("security") && operation.at("security") == only_token;
    EXPECT_EQ(needs, route.kind == RouteKind::kChanges) << route.path;
    EXPECT_TRUE(operation.contains("summary")) << route.path;
  }
}

TEST(ApiDescription, RefersOnlyToWhatItHas) {
  const json whole = description();
  const std::function<void(const json&)> look = [&](const json& value) {
    if (value.is_object() && value.contains("$ref")) {
      const std::string to = value.at("$ref").get<std::string>().substr(1);
      EXPECT_TRUE(whole.contains(json::json_pointer(to))) << to;
    }
    if (value.is_structured()) {
      for (const json& part : value) look(part);
    }
  };
  look(whole);
}

TEST(ApiDescription, FindsRoutesByMethodAndPath) {
  const RouteMatch drain = find_route(kj::HttpMethod::POST, {"api", "v1", "nodes", "n1", "drain"});
  ASSERT_NE(drain.route, nullptr);
  EXPECT_EQ(drain.captured, std::vector<std::string>{"n1"});
  EXPECT_EQ(find_route(kj::HttpMethod::HEAD, {}).route->path, "/");
  const RouteMatch other = find_route(kj::HttpMethod::GET, {"api", "v1", "nodes", "n1", "drain"});
  EXPECT_EQ(other.route, nullptr);
  EXPECT_TRUE(other.other_method);
  EXPECT_FALSE(find_route(kj::HttpMethod::GET, {"api"}).other_method);
}

}  // namespace
}  // namespace sublet::manager::web
