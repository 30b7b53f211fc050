#pragma once

#include "client.hpp"
#include "world.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace sublet::sim {

/// Who drains nodes, takes that back, ends leases and forgets lost nodes, at random.
///
/// Owner: the cluster. Only from outside the loop's events.
class Operator {
 public:
  /// Over nodes n0 to n(nodes - 1).
  Operator(World& world, std::uint32_t nodes);
  ~Operator() noexcept(false);
  KJ_DISALLOW_COPY(Operator);

  /// Gives one order. Orders that are under way go on.
  void act();

 private:
  void order(const std::string& what, std::chrono::nanoseconds limit,
             kj::Function<kj::Promise<void>(wire::ResourceManager::Client)> ask);
  void drain(const std::string& node);
  void release();

  World& world_;
  std::uint32_t nodes_;
  Process& process_;
  ClientLoop loop_;
  kj::Promise<void> orders_ = kj::READY_NOW;
  std::vector<kj::Promise<void>> under_way_;
};

}  // namespace sublet::sim
