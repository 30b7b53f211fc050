#include <base/log.hpp>
#include <base/replace_file.hpp>
#include <cli/manager_address_keeper.hpp>
#include <common/host_addresses.hpp>
#include <common/manager_query.hpp>
#include <wire/address.hpp>
#include <wire/reachable_address.hpp>

#include <unistd.h>

#include <array>
#include <ctime>
#include <future>
#include <memory>
#include <thread>

namespace sublet::cli {
namespace {

constexpr auto kRemoveLimit = std::chrono::seconds(2);
constexpr auto kAskOther = std::chrono::milliseconds(2000);

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == 0) return "localhost";
  return name.data();
}

std::string written_by() {
  std::array<char, 32> time{};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return host_name() + ", process " + std::to_string(::getpid()) + ", since " + time.data();
}

/// Two managers in one directory would split the cluster between them.
Result<void> check_alone(const std::string& directory) {
  const auto file = wire::ManagerAddressFile::read(directory);
  if (!file) return {};
  const wire::ManagerLocation location = wire::location_of(*file);
  if (!manager::query_version(location, kAskOther)) return {};  // what a dead one left behind
  return fail(ErrorKind::kDenied, "another resource manager serves '" + directory + "' at " +
                                      location.address + " (" + file->written_by +
                                      "); stop it first, or use another --address-dir");
}

}  // namespace

Result<ManagerAddressKeeper> ManagerAddressKeeper::write(const std::string& directory,
                                                         const std::vector<std::string>& listening,
                                                         std::vector<std::string> hosts,
                                                         const std::string& instance) {
  if (auto alone = check_alone(directory); !alone) return tl::unexpected<Error>(alone.error());
  if (hosts.empty()) {
    // Not everybody knows the name, and some know it as another host's.
    hosts = manager::network_addresses();
    hosts.insert(hosts.begin(), host_name());
  }
  std::vector<std::string> addresses;
  for (const std::string& text : listening) {
    auto address = wire::Address::parse(text);
    if (!address || address->kind != wire::Address::Kind::kTcp ||
        !manager::is_every_interface(address->host)) {
      addresses.push_back(text);
      continue;
    }
    for (const std::string& host : hosts) {
      address->host = host;
      addresses.push_back(address->to_string());
    }
  }
  wire::ManagerAddressFile file;
  file.path = directory + "/" + wire::kManagerAddressFile;
  file.written_by = written_by();
  file.instance = instance;
  file.addresses = std::move(addresses);
  if (auto written = base::replace_file(file.path, file.to_text(), "writing address file");
      !written) {
    return tl::unexpected<Error>(written.error());
  }
  ManagerAddressKeeper keeper;
  keeper.directory_ = directory;
  keeper.instance_ = instance;
  return keeper;
}

ManagerAddressKeeper::~ManagerAddressKeeper() {
  if (directory_.empty()) return;
  // On a thread of its own, that nobody joins: a shared directory may hang for ever.
  auto done = std::make_shared<std::promise<void>>();
  auto removed = done->get_future();
  std::thread([done, directory = directory_, instance = instance_] {
    const auto file = wire::ManagerAddressFile::read(directory);
    if (file && file->instance == instance) ::unlink(file->path.c_str());
    done->set_value();
  }).detach();
  if (removed.wait_for(kRemoveLimit) != std::future_status::ready) {
    base::log().warn("the address file in '{}' is not removed: the directory does not answer",
                     directory_);
  }
}

std::optional<std::string> ManagerAddressKeeper::taken_over(const std::string& directory,
                                                            const std::string& instance) {
  const auto file = wire::ManagerAddressFile::read(directory);
  if (!file || file->instance == instance) return std::nullopt;
  return "another resource manager has taken over '" + directory + "' (" + file->written_by +
         "): it had no answer from this one when it started";
}

}  // namespace sublet::cli
