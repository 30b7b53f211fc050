#include <base/printable_text.hpp>
#include <base/system_text.hpp>
#include <client/executor_list.hpp>
#include <wire/address.hpp>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

namespace sublet::client {
namespace {

constexpr std::size_t kMostExecutors = 65536;

Result<std::vector<ListedExecutor>> from_addresses(const std::string& text) {
  std::vector<ListedExecutor> executors;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    if (word.empty()) continue;
    if (const auto address = wire::Address::parse(word); !address) {
      return fail(ErrorKind::kInvalid, "SUBLET_EXECUTORS (executors) names '" +
                                           base::printable(word) + "': " + address.error().what());
    }
    executors.push_back({word});
  }
  return executors;
}

/// What is wrong with an entry of the file; empty: nothing.
std::string read_entry(const nlohmann::json& entry, ListedExecutor& executor) {
  constexpr std::uint64_t kMostPort = 65535;
  if (!entry.is_object()) return "is no object";
  const auto number = [&entry](const char* name) -> std::uint64_t {
    const auto found = entry.find(name);
    return found == entry.end() || !found->is_number_unsigned() ? 0 : found->get<std::uint64_t>();
  };
  const auto address = entry.find("address");
  if (address == entry.end() || !address->is_string()) return "has no address";
  const std::uint64_t port = number("port");
  if (port == 0 || port > kMostPort) return "has no port from 1 to 65535";
  if (entry.contains("cores")) {
    const std::uint64_t cores = number("cores");
    if (cores == 0 || cores > ~std::uint32_t{0}) return "has a number of cores that is none";
    executor.cores = static_cast<std::uint32_t>(cores);
  }
  const auto host = address->get<std::string>();
  const bool v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  executor.address = "tcp:" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
  const auto parsed = wire::Address::parse(executor.address);
  return parsed ? std::string() : base::printable(parsed.error().what());
}

Result<std::vector<ListedExecutor>> from_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    const int error = errno;
    return fail(ErrorKind::kInvalid,
                "reading the executors database '" + path +
                    "' (SUBLET_EXECUTORS, executors): " + base::system_text(error) +
                    "; name a file, or addresses as tcp:HOST:PORT separated by commas",
                error);
  }
  const auto wrong = [&path](const std::string& what) {
    return fail(ErrorKind::kInvalid,
                "executors database '" + path + "': " + what +
                    "; wanted is {\"executors\":[{\"address\":...,\"port\":...,\"cores\":...}]}");
  };
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (json.is_discarded()) return wrong("it is no JSON");
  if (!json.is_object() || !json.contains("executors") || !json["executors"].is_array()) {
    return wrong("it has no list 'executors'");
  }
  if (json["executors"].size() > kMostExecutors) return wrong("it lists too many");
  std::vector<ListedExecutor> executors;
  for (const auto& entry : json["executors"]) {
    ListedExecutor executor;
    if (const auto what = read_entry(entry, executor); !what.empty()) {
      return wrong("executor " + std::to_string(executors.size() + 1) + " " + what);
    }
    executors.push_back(std::move(executor));
  }
  if (executors.empty()) return wrong("it lists no executor");
  return executors;
}

}  // namespace

Result<std::vector<ListedExecutor>> read_executors(const std::string& text) {
  const bool addresses = text.starts_with("tcp:") || text.starts_with("unix:");
  return addresses ? from_addresses(text) : from_file(text);
}

}  // namespace sublet::client
