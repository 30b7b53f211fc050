#pragma once

// A client of both managers for tests: speaks Cap'n Proto itself, so that it can also say what the
// client library never would.

#include <common/rpc_connection.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/control.capnp.h>
#include <wire/signed_grant.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace sublet::test {

struct LeaseOfTest {
  std::optional<wire::LeaseHandle::Client> handle;
  std::vector<Grant> grants;
};

struct NoticesHeard {
  int ending = 0;
  std::uint64_t left_ms = 0;
  std::vector<std::string> lost;
};

struct ClaimOfTest {
  kj::Own<manager::RpcConnection> connection;
  std::optional<wire::ClaimedLease::Client> lease;
  std::uint32_t generation = 0;
  std::string socket;
  std::vector<std::string> cpusets;
  std::vector<std::byte> token;
  std::shared_ptr<NoticesHeard> heard;
};

/// One event loop, blocking calls with a deadline of 10 s each (then a kj::Exception). Its thread
/// has no other KJ event loop.
class ManagerClient {
 public:
  explicit ManagerClient(const std::string& manager_address);

  /// After the resource manager was started again.
  void reconnect(const std::string& manager_address);

  Result<LeaseOfTest> lease(std::uint32_t cores, std::uint32_t parts = 1,
                            std::chrono::milliseconds duration = std::chrono::minutes(10));
  [[nodiscard]] const HolderKey& holder_key() const { return key_.public_key(); }
  Result<std::int64_t> extend(const Grant& grant, const ClaimOfTest& claim,
                              std::chrono::milliseconds duration);
  Result<ClaimOfTest> claim(const Grant& grant);
  /// What a claim is made with, to be altered.
  struct Presented {
    std::vector<std::byte> sealed;
    wire::SigningKey* holder = nullptr;           ///< Null: this client's.
    wire::ChannelBinding* binding = nullptr;      ///< Null: that of the connection.
    std::size_t flip_of_proof = ~std::size_t{0};  ///< This bit of it.
    std::vector<std::string> transports{};
  };
  Result<ClaimOfTest> claim(const Grant& grant, const Presented& presented);

  /// As claim, with a name of a transport that is no text.
  Result<ClaimOfTest> claim_malformed(const Grant& grant);

  /// Opens a function, and installs the library when the node does not have it.
  Result<void> open(ClaimOfTest& claim, std::uint16_t index, const std::string& library,
                    const std::string& function);
  /// Lets the lease's executors run that program.
  Result<void> become(ClaimOfTest& claim, const std::string& program,
                      const std::string& surroundings = {});
  /// The endpoint after `generation`.
  Result<std::uint32_t> replacement(ClaimOfTest& claim, std::uint32_t generation);
  std::string fate(ClaimOfTest& claim, std::uint32_t generation);
  Usage usage(ClaimOfTest& claim);

  /// Lets messages come in until `condition` is true; false after 30 s.
  template <class Condition>
  bool until(Condition&& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      io_.provider->getTimer().afterDelay(2 * kj::MILLISECONDS).wait(io_.waitScope);
    }
    return true;
  }

 private:
  template <class T>
  T wait(kj::Promise<T> promise, const char* what);

  kj::AsyncIoContext io_;
  wire::SigningKey key_ = wire::SigningKey::make();
  kj::Own<manager::RpcConnection> manager_;
};

}  // namespace sublet::test
