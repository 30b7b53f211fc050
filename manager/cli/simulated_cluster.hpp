#pragma once

#include <common/auth/authorize.hpp>
#include <resource_manager/resource_manager_service.hpp>
#include <wire/signing_key.hpp>

#include <kj/async-io.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace sublet::cli {

/// A real resource manager with simulated nodes of 64 cores, for benchmarks: what clients and
/// executor managers call, in one process and one thread.
///
/// Owner: the benchmark; on the event loop's thread, outside of its callbacks. What is refused is a
/// kj::Exception.
class SimulatedCluster {
 public:
  static constexpr std::uint32_t kCoresOfNode = 64;

  /// Of leases so many are held at one time once it is full.
  SimulatedCluster(kj::AsyncIoContext& io, const manager::Operators& operators, std::uint32_t nodes,
                   std::size_t leases);

  /// A new lease, and once there are many the end of the oldest; and the heartbeats that are due.
  void pair();
  [[nodiscard]] bool is_full() const { return leases_.size() >= most_leases_; }
  /// Each node says once a second that it is there.
  void beat();
  [[nodiscard]] manager::ResourceManagerService& service() { return *service_; }

 private:
  struct Held {
    std::uint64_t lease = 0;
    wire::LeaseHandle::Client handle;
    std::vector<std::pair<std::string, std::uint32_t>> shares;  ///< Node and part.
  };

  void join(std::uint32_t number);
  void lease();
  void end_oldest();

  kj::WaitScope& scope_;
  std::size_t most_leases_;
  kj::Own<manager::ResourceManagerService> service_;
  wire::ResourceManager::Client manager_;
  std::map<std::string, wire::NodeRegistration::Client> nodes_;
  std::map<std::string, wire::NodeRegistration::Client>::iterator next_beat_ = nodes_.end();
  std::uint64_t beats_ = 0;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::deque<Held> leases_;
  std::mt19937 random_{20261201};
  const wire::SigningKey holder_ = wire::SigningKey::make();
  const wire::SigningKey key_ = wire::SigningKey::make();  ///< Of each node.
};

}  // namespace sublet::cli
