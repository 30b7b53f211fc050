// What the command says of RDMA devices, and makes of --device, where there is one.

#include "command_fixture.hpp"
#include "support/managers.hpp"
#include <transport/verbs/verbs_devices.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>

namespace sublet::test {
namespace {

using nlohmann::json;
using transport::verbs::Device;

class RdmaDevices : public CommandTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(transport::verbs::why_unavailable(), "");
    for (const Device& port : transport::verbs::devices().value_or_throw()) {
      if (port.active && !port.addresses.empty()) port_ = port;
    }
    ASSERT_FALSE(port_.name.empty()) << "no active port has an IP address";
  }

  json devices(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"devices", "--output", "json"});
    const Ended ended = run(more);
    EXPECT_EQ(ended.code, 0) << ended.output;
    return json::parse(ended.output, nullptr, false)["devices"];
  }

  std::string database(const std::string& name, const std::string& address) {
    std::string path = directory_ + "/devices.json";
    std::ofstream(path) << json{{"devices", {{{"name", name}, {"ip_address", address}}}}};
    return path;
  }

  /// What came of a lease over verbs from an executor manager with these flags: the worker's
  /// transport, or the error.
  static std::string lease_from(const std::vector<std::string>& flags) {
    const TestManagers managers({TestNode{.more = flags}});
    SessionOptions options = managers.session_options();
    options.transport = "verbs";
    auto session = Session::open(options);
    if (!session) return session.error().what();
    auto lease = session->lease({.cores = 1, .hot_timeout = std::chrono::milliseconds(0)});
    return lease ? lease->worker(0).transport : lease.error().what();
  }

  Device port_;
};

TEST_F(RdmaDevices, AreListedWithWhatWasFoundOut) {
  bool listed = false;
  for (const json& device : devices()) {
    if (device["name"] != port_.name || device["port"] != port_.port) continue;
    listed = true;
    EXPECT_EQ(device["ip_address"], port_.addresses.front());
    EXPECT_EQ(device["state"], "active");
    EXPECT_EQ(device["max_inline_data"], port_.max_inline);
    EXPECT_GT(device["default_receive_buffer_size"].get<int>(), 0);
    EXPECT_TRUE(device.contains("numa_node"));
    EXPECT_NE(device["nearest_cores"], "");
  }
  EXPECT_TRUE(listed);
  const Ended table = run({"devices"});
  expect_contains(table.output, "INLINE");
  expect_contains(table.output, port_.addresses.front());
}

TEST_F(RdmaDevices, ThatAreNotThereAreToldFromThoseThatAre) {
  for (const std::string command : {"devices", "executor-manager"}) {
    const Ended ended = run({command, "--device", "no_such_device"});
    EXPECT_EQ(ended.code, 2) << command;
    expect_contains(ended.output, "'no_such_device' on this node; there are: ");
    expect_contains(ended.output.substr(ended.output.find("there are: ")), port_.name);
  }
}

TEST_F(RdmaDevices, AreChosenByNameAndByDatabase) {
  const json named = devices({"--device", port_.name});
  ASSERT_EQ(named.size(), 1u);
  EXPECT_EQ(named[0]["name"], port_.name);
  const json known = devices({"--device-database", database(port_.name, "192.0.2.7")});
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0]["ip_address"], "192.0.2.7");

  EXPECT_EQ(lease_from({"--device", port_.name}), "verbs");
  EXPECT_EQ(lease_from({"--device-database", database(port_.name, port_.addresses.front())}),
            "verbs");
}

TEST_F(RdmaDevices, TheDoctorPrefersThemAndKnowsTheLimitOfLockedMemory) {
  const Ended ended = run({"doctor"});
  expect_contains(ended.output, "ok    transport verbs: RDMA at ");
  expect_contains(ended.output, "calls to another node: verbs");
  const Ended limited =
      run_program({"/bin/sh", "-c", "ulimit -l 64 && exec " + built_program("sublet") + " doctor"});
  expect_contains(limited.output, "locked memory: 64 KiB");
  expect_contains(limited.output, "ulimit -l unlimited");
}

/// Takes the interface of the port down until this goes.
class LinkDown {
 public:
  explicit LinkDown(std::string interface) : interface_(std::move(interface)) { set("down"); }
  LinkDown(const LinkDown&) = delete;
  LinkDown& operator=(const LinkDown&) = delete;
  ~LinkDown() { set("up"); }

 private:
  void set(const char* state) const {
    const std::string command =
        "PATH=$PATH:/sbin:/usr/sbin ip link set " + interface_ + " " + state;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
  std::string interface_;
};

TEST_F(RdmaDevices, WhosePortIsDownAreSaidToBe) {
  const char* wanted = std::getenv("SUBLET_TEST_CUT_LINK");
  if (wanted == nullptr || std::string(wanted) != "1") {
    GTEST_SKIP()
        << "SUBLET_TEST_CUT_LINK=1 takes the RDMA device's network interface down for a while: "
           "only where nobody else uses it, as root";
  }
  ASSERT_FALSE(port_.interfaces.empty());
  {
    const LinkDown down(port_.interfaces.front());
    ASSERT_TRUE(eventually([] { return !transport::verbs::why_unavailable().empty(); }))
        << "another port is still up";
    EXPECT_EQ(devices({"--device", port_.name})[0]["state"], "down");
    const Ended doctor = run({"doctor"});
    expect_contains(doctor.output,
                    "transport verbs: cannot be used: no port of an RDMA device is "
                    "active (" +
                        port_.name + " port 1: down)");
    expect_contains(doctor.output, "not verbs: no port");
    const std::string refusal = lease_from({"--device", port_.name});
    expect_contains(refusal,
                    "no port of an RDMA device is active (" + port_.name + " port 1: down)");
  }
  ASSERT_TRUE(eventually([] { return transport::verbs::why_unavailable().empty(); }));
  EXPECT_EQ(lease_from({"--device", port_.name}), "verbs");
}

}  // namespace
}  // namespace sublet::test
