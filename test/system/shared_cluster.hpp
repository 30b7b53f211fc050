#pragma once

#include "command_fixture.hpp"
#include "support/eventually.hpp"
#include <sublet/sublet.hpp>
#include <wire/trust.hpp>

#include <unistd.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace sublet::test {

/// A resource manager on a network with one node, n1 of 4 workers, for users who each have a key:
/// root's, so that it can make keys of others.
class SharedCluster : public CommandTest {
 protected:
  static constexpr auto kStart = std::chrono::seconds(30);

  void make_key(const std::string& whose, uid_t uid) {
    ASSERT_TRUE(wire::Key::make(key(whose)));
    ASSERT_EQ(::chown(key(whose).c_str(), uid, uid), 0);
  }
  /// The managers believe these keys. `more`: options of the node's.
  void start(const std::vector<std::string>& keys, const std::vector<std::string>& more = {}) {
    std::vector<std::string> manager{"resource-manager", "--listen", "tcp:127.0.0.1:0",
                                     "--address-file", directory_ + "/address"};
    std::vector<std::string> believed;
    for (const std::string& whose : keys) {
      believed.insert(believed.end(), {"--key-file", key(whose)});
    }
    manager.insert(manager.end(), believed.begin(), believed.end());
    resource_manager_ = daemon("rm", manager);
    ASSERT_TRUE(eventually(
        [&] { return std::ifstream(directory_ + "/address") >> address_ && !address_.empty(); },
        kStart))
        << log("rm");
    std::vector<std::string> node{"executor-manager", "--manager", address_,      "--cores", "1",
                                  "--oversubscribe",  "4",         "--node-name", "n1"};
    node.insert(node.end(), believed.begin(), believed.end());
    node.insert(node.end(), more.begin(), more.end());
    node_ = daemon("node", node);
    ASSERT_TRUE(eventually([&] { return log("node").find("registered with") != std::string::npos; },
                           kStart))
        << log("node");
  }

  [[nodiscard]] std::string key(const std::string& whose) const {
    return directory_ + "/" + whose + ".key";
  }
  [[nodiscard]] std::string log(const std::string& name) const {
    std::ifstream file(directory_ + "/" + name + ".log");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::unique_ptr<ChildProcess> daemon(const std::string& name, std::vector<std::string> words) {
    words.insert(words.begin(), built_program("sublet"));
    ChildProcess::Options options;
    options.environment = {"XDG_RUNTIME_DIR=" + directory_, "SUBLET_KEY_FILE", "SUBLET_LOG=info",
                           "SUBLET_MANAGER_CONFIG=/dev/null"};
    options.environment.insert(options.environment.end(), environment_.begin(), environment_.end());
    options.output = directory_ + "/" + name + ".log";
    return std::make_unique<ChildProcess>(words, options);
  }
  /// On another node by its name: all connections are over the network.
  [[nodiscard]] Result<Session> session_of(const std::string& whose,
                                           const std::string& node = "elsewhere") const {
    SessionOptions options;
    options.node_name = node;
    options.manager = address_;
    options.key_file = key(whose);
    return Session::open(options);
  }

  std::vector<std::string> environment_;  ///< More of it, for the daemons.
  std::string address_;
  std::unique_ptr<ChildProcess> resource_manager_;
  std::unique_ptr<ChildProcess> node_;
};

}  // namespace sublet::test
