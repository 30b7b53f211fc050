#include "support/temp_directory.hpp"
#include <cli/device_database.hpp>
#include <cli/executor_manager_options.hpp>

#include <boost/program_options.hpp>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace sublet::cli {
namespace {

/// Files in a directory that goes with the test.
class DeviceDatabaseTest : public testing::Test {
 protected:
  [[nodiscard]] std::string file(const std::string& content) const {
    std::string path = directory_ + "/devices.json";
    std::ofstream(path) << content;
    return path;
  }

  static std::string mistake_in(const std::string& path) {
    const auto database = DeviceDatabase::read(path);
    if (database) return "accepted";
    EXPECT_EQ(database.error().kind(), ErrorKind::kInvalid);
    return database.error().what();
  }
  [[nodiscard]] std::string mistake(const std::string& content) const {
    const std::string path = file(content);
    std::string text = mistake_in(path);
    EXPECT_NE(text.find(path), std::string::npos) << text;
    EXPECT_NE(text.find(R"({"devices":[{"name":...,"ip_address":...}]})"), std::string::npos)
        << text;
    return text;
  }

  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
};

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

TEST_F(DeviceDatabaseTest, IsReadAsRfaasWritesIt) {
  const auto database = DeviceDatabase::read(file(R"({"devices":[
    {"name":"mlx5_0","ip_address":"192.168.0.12","port":10000,"max_inline_data":128,
     "default_receive_buffer_size":20},
    {"name":"rxe0","ip_address":"fd00::7"}]})"));
  ASSERT_TRUE(database) << database.error().what();
  ASSERT_EQ(database->entries().size(), 2u);
  EXPECT_EQ(database->entries()[0].name, "mlx5_0");
  EXPECT_EQ(database->entries()[0].ip_address, "192.168.0.12");
  const auto second = database->find("rxe0");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->ip_address, "fd00::7");
  EXPECT_TRUE(DeviceDatabase::read(file(R"({"devices":[]})"))->entries().empty());
}

TEST_F(DeviceDatabaseTest, SaysWhichDevicesItHasWhenAskedForAnother) {
  const auto database = DeviceDatabase::read(file(R"({"devices":[
    {"name":"mlx5_0","ip_address":"10.0.0.1"},{"name":"mlx5_1","ip_address":"10.0.0.2"}]})"));
  ASSERT_TRUE(database) << database.error().what();
  const auto missing = database->find("mlx4_0");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kInvalid);
  expect_contains(missing.error().what(), "'mlx4_0'");
  expect_contains(missing.error().what(), "device database");
  expect_contains(missing.error().what(), "mlx5_0, mlx5_1");
}

TEST_F(DeviceDatabaseTest, SaysWhatIsWrongWithAFile) {
  const std::string missing = mistake_in(directory_ + "/none.json");
  expect_contains(missing, "none.json");
  expect_contains(missing, "No such file");
  expect_contains(mistake(""), "no JSON");
  expect_contains(mistake(R"({"devices":[{"name":"rxe0",)"), "no JSON");
  expect_contains(mistake("[]"), "no list 'devices'");
  expect_contains(mistake("{}"), "no list 'devices'");
  expect_contains(mistake(R"({"devices":{"name":"rxe0"}})"), "no list 'devices'");
}

TEST_F(DeviceDatabaseTest, SaysWhichEntryLacksWhat) {
  const std::string good = R"({"name":"rxe0","ip_address":"10.0.0.1"})";
  for (const std::string bad : {R"({"name":"rxe1"})", R"({"ip_address":"10.0.0.2"})",
                                R"({"name":7,"ip_address":"10.0.0.2"})",
                                R"({"name":"rxe1","ip_address":null})", "\"rxe1\""}) {
    expect_contains(mistake(R"({"devices":[)" + good + "," + bad + "]}"),
                    "device 2 has no name or no ip_address");
  }
  const std::string odd =
      mistake(R"({"devices":[)" + good + R"(,{"name":"rxe1","ip_address":"10.0.0"}]})");
  expect_contains(odd, "rxe1");
  expect_contains(odd, "'10.0.0', which is no IP address");
}

transport::verbs::Device port_of(const std::string& name, std::uint8_t port) {
  transport::verbs::Device device;
  device.name = name;
  device.port = port;
  return device;
}

TEST(PickDevice, SaysWhichDevicesThereAreEachOnce) {
  const std::vector<transport::verbs::Device> devices = {port_of("mlx5_0", 1), port_of("mlx5_0", 2),
                                                         port_of("rxe0", 1)};
  EXPECT_EQ(pick_device(devices, "rxe0")->name, "rxe0");
  EXPECT_EQ(pick_device(devices, "mlx5_0")->port, 1u);
  const auto missing = pick_device(devices, "rxe1");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kInvalid);
  expect_contains(missing.error().what(), "no device 'rxe1' on this node; there are: mlx5_0, rxe0");
  EXPECT_EQ(std::string(missing.error().what()).find("mlx5_0, mlx5_0"), std::string::npos);
  expect_contains(pick_device({}, "rxe1").error().what(), "there is none");
}

/// What an executor manager makes of these words.
Result<manager::ExecutorManagerOptions> node(const std::vector<std::string>& words) {
  CommandLine line;
  line.name = "test-manager";
  add_node_options(line);
  const auto values = parse_options(line, words);
  if (!values) return tl::unexpected<Error>(values.error());
  return node_options(*values);
}

TEST_F(DeviceDatabaseTest, IsLookedIntoBeforeAnExecutorManagerStarts) {
  EXPECT_EQ(node({})->rdma_host, "");
  expect_contains(node({"--device", "no_such_device"}).error().what(), "'no_such_device'");
  expect_contains(node({"--device-database", directory_ + "/none.json"}).error().what(),
                  "none.json");
  expect_contains(node({"--device-database", file(R"({"devices":[]})")}).error().what(),
                  "names no device");
  const std::string path = file(R"({"devices":[{"name":"no_such","ip_address":"10.0.0.1"}]})");
  expect_contains(node({"--device-database", path, "--device", "rxe0"}).error().what(),
                  "there are: no_such");
  // It is in the file, and not in the machine.
  expect_contains(node({"--device-database", path}).error().what(), "'no_such' on this node");
}

}  // namespace
}  // namespace sublet::cli
