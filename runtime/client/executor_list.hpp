#pragma once

#include <sublet/result.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::client {

/// An executor manager to lease from without a resource manager.
struct ListedExecutor {
  std::string address;                      ///< As wire::Address reads it.
  std::uint32_t cores = ~std::uint32_t{0};  ///< The most to take of it for one lease.
};

/// What SessionOptions::executors names: addresses separated by commas, when it begins as one does
/// (unix:, tcp:); else the file of that name, as rFaaS has it:
///   {"executors":[{"address":"192.168.0.21","port":10006,"cores":1}]}
/// Other members are read over. kInvalid says what is wrong, and where.
Result<std::vector<ListedExecutor>> read_executors(const std::string& text);

}  // namespace sublet::client
