// Texts from outside: addresses, address files, sizes and times of options, configuration files,
// device databases, grants of other ranks.

#include "support/temp_directory.hpp"
#include "target.hpp"
#include <base/host_port.hpp>
#include <base/printable_text.hpp>
#include <cli/device_database.hpp>
#include <cli/executor_manager_options.hpp>
#include <cli/options.hpp>
#include <sublet/lease.hpp>
#include <wire/address.hpp>
#include <wire/manager_address.hpp>

#include <sys/stat.h>

#include <fstream>
#include <functional>

namespace sublet::fuzz {
namespace {

/// The input as a file of that name; its directory.
const std::string& as_file(const std::string& name, std::span<const std::byte> input) {
  static const test::TempDirectory directory;
  std::ofstream file(directory.path() + "/" + name, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(input.data()),
             static_cast<std::streamsize>(input.size()));
  return directory.path();
}

void run_addresses(std::span<const std::byte> input) {
  const std::string text = text_of(input);
  (void)base::HostPort::parse(text);
  (void)base::printable(text);
  const auto address = wire::Address::parse(text);
  if (!address) return;
  const auto again = wire::Address::parse(address->to_string());
  require(again.has_value(), "an address is none once it has been written");
  require(again->to_string() == address->to_string(), "an address changes when it is written");
}

std::vector<Bytes> address_seeds() {
  return {bytes_of("unix:/run/sublet/manager.sock"), bytes_of("unix:@name"), bytes_of("tcp:*:4711"),
          bytes_of("tcp:[fe80::1%eth0]:1"), bytes_of("tcp:n1.cluster:65535")};
}

void run_manager_file(std::span<const std::byte> input) {
  const auto read = wire::ManagerAddressFile::read(as_file(wire::kManagerAddressFile, input));
  require(!read || !read->addresses.empty(), "an address file without an address");
}

std::vector<Bytes> manager_file_seeds() {
  wire::ManagerAddressFile file;
  file.written_by = "n1, process 7, since today";
  file.instance = "0123456789abcdef";
  file.addresses = {"unix:@m", "tcp:n1:4711"};
  return {bytes_of(file.to_text()), bytes_of(wire::kPrivateManagerFailed + "no cores\n")};
}

cli::CommandLine command_line() {
  cli::CommandLine line;
  line.name = "executor-manager";
  line.options.add_options()("config", boost::program_options::value<std::string>(), "");
  cli::add_node_options(line);
  line.configurable = true;
  return line;
}

void run_options(std::span<const std::byte> input) {
  const std::string path = as_file("sublet.conf", input) + "/sublet.conf";
  auto values = cli::parse_options(command_line(), {"--config", path});
  if (values) (void)cli::node_options(*values);
  const std::string text = text_of(input);
  (void)cli::parse_size(text);
  (void)cli::parse_duration(text);
  (void)cli::parse_numbers("sizes", text, 99'999);
}

std::vector<Bytes> option_seeds() {
  return {bytes_of("# a comment\n[executor-manager]\ncores = 2\nmemory = 512MiB\nnode-name = n7\n"),
          bytes_of("[resource-manager]\nlisten = tcp:*:4711\n"), bytes_of("1.5G"),
          bytes_of("500ms"), bytes_of("1,64,4096")};
}

void run_devices(std::span<const std::byte> input) {
  const auto read = cli::DeviceDatabase::read(as_file("devices.json", input) + "/devices.json");
  if (!read) return;
  for (const auto& entry : read->entries()) {
    require(read->find(entry.name).has_value(), "a device of the database is not found in it");
  }
}

std::vector<Bytes> device_seeds() {
  return {bytes_of(R"({"devices":[{"name":"mlx5_0","ip_address":"10.0.0.1","port":10000,)"
                   R"("max_inline_data":128,"default_receive_buffer_size":20}]})"),
          bytes_of(R"({"devices":[]})")};
}

void run_grant(std::span<const std::byte> input) {
  const auto grant = Grant::from_bytes(input);
  if (!grant) return;
  const auto again = Grant::from_bytes(grant->to_bytes());
  require(again.has_value(), "a grant is none once it has been written");
  require(again->to_bytes() == grant->to_bytes(), "a grant changes when it is written");
}

std::vector<Bytes> grant_seeds() {
  Grant grant;
  grant.lease_id = 17;
  grant.cores = 2;
  grant.node_name = "n1";
  grant.node_id = "boot/n1";
  grant.addresses = {"unix:@n1", "tcp:n1:1"};
  grant.token.assign(16, std::byte{7});
  return {grant.to_bytes()};
}

const Registered addresses({"addresses", run_addresses, address_seeds});
const Registered manager_file({"manager_file", run_manager_file, manager_file_seeds});
const Registered options({"options", run_options, option_seeds});
const Registered devices({"device_database", run_devices, device_seeds});
const Registered grant({"grant", run_grant, grant_seeds});

}  // namespace
}  // namespace sublet::fuzz
