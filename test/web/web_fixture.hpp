#pragma once

#include "http_connection.hpp"
#include "support/managers.hpp"
#include "support/temp_directory.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace sublet::test {

/// Real managers, the resource manager with a page and a token.
class Web : public testing::Test {
 protected:
  static constexpr std::uint32_t kUser = 61000;
  static constexpr std::uint32_t kOther = 61001;
  static constexpr const char* kToken = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

  void start(const std::vector<TestNode>& nodes = {TestNode{}}, bool ledger = false,
             const std::string& listen = "127.0.0.1:0") {
    write_token(directory() + "/token", kToken);
    ::setenv("SUBLET_RESOURCE_MANAGER_HTTP", listen.c_str(), 1);
    ::setenv("SUBLET_RESOURCE_MANAGER_HTTP_TOKEN_FILE", (directory() + "/token").c_str(), 1);
    ::setenv("SUBLET_RESOURCE_MANAGER_HTTP_ADDRESS_FILE", address_file().c_str(), 1);
    managers_ = std::make_unique<TestManagers>(nodes, false, ledger);
    std::ifstream(address_file()) >> url_;
    ASSERT_TRUE(url_.starts_with("http://127.0.0.1:")) << url_;
    port_ = static_cast<std::uint16_t>(std::atoi(url_.c_str() + url_.rfind(':') + 1));
  }
  ~Web() override {
    for (const char* const name : {"HTTP", "HTTP_TOKEN_FILE", "HTTP_ADDRESS_FILE"}) {
      ::unsetenv((std::string("SUBLET_RESOURCE_MANAGER_") + name).c_str());
    }
  }

  static void write_token(const std::string& path, const std::string& token, mode_t mode = 0600) {
    std::ofstream(path) << token << "\n";
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
  [[nodiscard]] const std::string& directory() const { return temporary_.path(); }
  [[nodiscard]] std::string address_file() const { return directory() + "/page"; }

  [[nodiscard]] HttpConnection connect(std::optional<std::uint32_t> uid = {}) const {
    return HttpConnection(port_, uid);
  }
  static HttpConnection::Headers with_token(const std::string& token = kToken) {
    return {{"Authorization", "Bearer " + token}};
  }
  HttpAnswer get(const std::string& target, const HttpConnection::Headers& headers = {}) const {
    return connect().ask("GET", target, headers);
  }
  HttpAnswer get_as(std::uint32_t uid, const std::string& target,
                    const HttpConnection::Headers& headers = {}) const {
    return connect(uid).ask("GET", target, headers);
  }
  HttpAnswer post(const std::string& target, const std::string& body = {}) const {
    return connect().ask("POST", target, with_token(), body);
  }
  static nlohmann::json json_of(const HttpAnswer& answer) {
    auto value = nlohmann::json::parse(answer.body, nullptr, false);
    EXPECT_TRUE(value.is_object()) << answer.status << " " << answer.body;
    return value;
  }
  static bool is_root() { return ::geteuid() == 0; }

  const TempDirectory temporary_;
  std::unique_ptr<TestManagers> managers_;
  std::string url_;
  std::uint16_t port_ = 0;
};

}  // namespace sublet::test
