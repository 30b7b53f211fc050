#include "manager_client.hpp"

#include <common/async.hpp>
#include <wire/convert.hpp>

#include <sodium/crypto_hash_sha256.h>

#include <fstream>
#include <iterator>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kLimit = 30s;

class Notices final : public wire::LeaseNotices::Server {
 public:
  explicit Notices(std::shared_ptr<NoticesHeard> heard) : heard_(std::move(heard)) {}

 protected:
  kj::Promise<void> ending(EndingContext context) override {
    ++heard_->ending;
    heard_->left_ms = context.getParams().getLeftMs();
    return kj::READY_NOW;
  }
  kj::Promise<void> lost(LostContext context) override {
    heard_->lost.push_back(wire::to_string(context.getParams().getReason()));
    return kj::READY_NOW;
  }

 private:
  std::shared_ptr<NoticesHeard> heard_;
};

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

template <class T>
T ManagerClient::wait(kj::Promise<T> promise, const char* what) {
  return manager::within(io_.provider->getTimer(), kLimit, kj::mv(promise), what)
      .wait(io_.waitScope);
}

ManagerClient::ManagerClient(const std::string& manager_address) : io_(kj::setupAsyncIo()) {
  reconnect(manager_address);
}

void ManagerClient::reconnect(const std::string& manager_address) {
  const auto address = wire::Address::parse(manager_address).value_or_throw();
  manager_ =
      wait(manager::RpcConnection::connect(io_.provider->getNetwork(), io_.provider->getTimer(),
                                           address, kLimit, wire::Trust::load({})),
           "connecting");
}

Result<LeaseOfTest> ManagerClient::lease(std::uint32_t cores, std::uint32_t parts,
                                         std::chrono::milliseconds duration) {
  auto request = manager_->bootstrap().castAs<wire::ResourceManager>().leaseRequest();
  sublet::LeaseRequest wanted;
  wanted.cores = cores;
  wanted.parts = parts;
  wanted.memory_bytes = 64u << 20;
  wanted.arena_bytes = 16u << 20;
  wanted.hot_timeout = 0ms;
  wanted.placement = Placement::kPack;
  wanted.holders.assign(parts, key_.public_key());
  auto builder = request.initRequest();
  wire::write(builder, wanted, "elsewhere", "test@somewhere");
  builder.setDurationMs(static_cast<std::uint64_t>(duration.count()));
  auto response = wait<capnp::Response<wire::ResourceManager::LeaseResults>>(
      request.send().then([](auto&& r) { return kj::mv(r); }), "the lease");
  if (auto failure = wire::failure_of(response)) return tl::unexpected<Error>(*failure);
  LeaseOfTest lease;
  lease.handle = response.getHandle();
  for (const auto grant : response.getGrants()) {
    lease.grants.push_back(wire::read(grant).value_or_throw());
  }
  return lease;
}

Result<std::int64_t> ManagerClient::extend(const Grant& grant, const ClaimOfTest& claim,
                                           std::chrono::milliseconds duration) {
  auto request = manager_->bootstrap().castAs<wire::ResourceManager>().extendRequest();
  request.setLeaseId(grant.lease_id);
  request.setToken(wire::to_data(claim.token));
  request.setDurationMs(static_cast<std::uint64_t>(duration.count()));
  auto response = wait<capnp::Response<wire::ResourceManager::ExtendResults>>(
      request.send().then([](auto&& r) { return kj::mv(r); }), "the extension");
  if (auto failure = wire::failure_of(response)) return tl::unexpected<Error>(*failure);
  return response.getExpiresUnixMs();
}

Result<ClaimOfTest> ManagerClient::claim(const Grant& grant) {
  return claim(grant, {.sealed = grant.sealed});
}

Result<ClaimOfTest> ManagerClient::claim(const Grant& grant, const Presented& presented) {
  ClaimOfTest claim;
  const auto address = wire::Address::parse(grant.addresses.at(0)).value_or_throw();
  claim.connection =
      wait(manager::RpcConnection::connect(io_.provider->getNetwork(), io_.provider->getTimer(),
                                           address, kLimit, wire::Trust::load({})),
           "connecting to the executor manager");
  claim.heard = std::make_shared<NoticesHeard>();
  auto request = claim.connection->bootstrap().castAs<wire::ExecutorManager>().claimRequest();
  auto proof = wire::prove_holder(
      presented.sealed,
      presented.binding == nullptr ? claim.connection->peer().binding() : *presented.binding,
      presented.holder == nullptr ? key_ : *presented.holder);
  if (presented.flip_of_proof < 8 * proof.size()) {
    proof[presented.flip_of_proof / 8] ^= std::byte{1} << (presented.flip_of_proof % 8);
  }
  request.setGrant(wire::to_data(presented.sealed));
  request.setProof(wire::to_data(proof));
  request.setNotices(kj::heap<Notices>(claim.heard));
  auto names = request.initTransports(static_cast<unsigned>(presented.transports.size()));
  for (unsigned i = 0; i < names.size(); ++i) names.set(i, presented.transports[i]);
  auto response = wait<capnp::Response<wire::ExecutorManager::ClaimResults>>(
      request.send().then([](auto&& r) { return kj::mv(r); }), "the claim");
  if (auto failure = wire::failure_of(response)) return tl::unexpected<Error>(*failure);
  claim.lease = response.getLease();
  const auto token = wire::to_bytes(response.getToken());
  claim.token.assign(token.begin(), token.end());
  claim.generation = response.getEndpoint().getGeneration();
  claim.socket = wire::to_string(response.getEndpoint().getLocal());
  for (const auto worker : response.getWorkers()) {
    claim.cpusets.push_back(wire::to_string(worker.getCpuset()));
  }
  return claim;
}

Result<ClaimOfTest> ManagerClient::claim_malformed(const Grant& grant) {
  const auto address = wire::Address::parse(grant.addresses.at(0)).value_or_throw();
  ClaimOfTest claim;
  claim.connection =
      wait(manager::RpcConnection::connect(io_.provider->getNetwork(), io_.provider->getTimer(),
                                           address, kLimit, wire::Trust::load({})),
           "connecting to the executor manager");
  auto request = claim.connection->bootstrap().castAs<wire::ExecutorManager>().claimRequest();
  request.setGrant(wire::to_data(grant.sealed));
  request.setNotices(kj::heap<Notices>(std::make_shared<NoticesHeard>()));
  // A Text ends with a zero byte. Its place in the message holds bytes without one.
  request.initTransports(1);
  wire::ExecutorManager::ClaimParams::Builder params = request;
  capnp::AnyStruct::Builder raw(kj::mv(params));
  raw.getPointerSection()[1].initAs<capnp::List<capnp::Data>>(1).set(
      0, wire::to_data(std::as_bytes(std::span("tcp", 3))));
  auto response = wait<capnp::Response<wire::ExecutorManager::ClaimResults>>(
      request.send().then([](auto&& r) { return kj::mv(r); }), "the claim");
  if (auto failure = wire::failure_of(response)) return tl::unexpected<Error>(*failure);
  claim.lease = response.getLease();
  return claim;
}

Result<void> ManagerClient::open(ClaimOfTest& claim, std::uint16_t index,
                                 const std::string& library, const std::string& function) {
  const std::vector<std::byte> content = read_file(library);
  std::array<unsigned char, crypto_hash_sha256_BYTES> sha256{};
  crypto_hash_sha256(sha256.data(), reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto request = claim.lease->openRequest();
    request.setIndex(index);
    request.setSha256(wire::to_data(std::as_bytes(std::span(sha256))));
    request.setLibraryName(library);
    request.setName(function);
    auto response = wait<capnp::Response<wire::ClaimedLease::OpenResults>>(
        request.send().then([](auto&& r) { return kj::mv(r); }), "opening a function");
    if (auto failure = wire::failure_of(response)) return tl::unexpected<Error>(*failure);
    if (!response.getMissing()) return {};
    auto install = claim.lease->installRequest();
    install.setContent(wire::to_data(content));
    auto installed = wait<capnp::Response<wire::ClaimedLease::InstallResults>>(
        install.send().then([](auto&& r) { return kj::mv(r); }), "installing a library");
    if (auto failure = wire::failure_of(installed)) return tl::unexpected<Error>(*failure);
  }
  return fail(ErrorKind::kInternal, "the library is missing although it was installed");
}

Result<void> ManagerClient::become(ClaimOfTest& claim, const std::string& program,
                                   const std::string& surroundings) {
  const std::vector<std::byte> content = read_file(program);
  std::array<unsigned char, crypto_hash_sha256_BYTES> sha256{};
  crypto_hash_sha256(sha256.data(), reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto request = claim.lease->becomeRequest();
    request.setSha256(wire::to_data(std::as_bytes(std::span(sha256))));
    request.setName(program.substr(program.rfind('/') + 1));
    request.setSurroundings(surroundings);
    auto response = wait<capnp::Response<wire::ClaimedLease::BecomeResults>>(
        request.send().then([](auto&& r) { return kj::mv(r); }), "becoming an application");
    if (auto failure = wire::failure_of(response)) return tl::unexpected<Error>(*failure);
    if (!response.getMissing()) return {};
    auto install = claim.lease->installRequest();
    install.setContent(wire::to_data(content));
    install.setProgram(true);
    auto installed = wait<capnp::Response<wire::ClaimedLease::InstallResults>>(
        install.send().then([](auto&& r) { return kj::mv(r); }), "installing a program");
    if (auto failure = wire::failure_of(installed)) return tl::unexpected<Error>(*failure);
  }
  return fail(ErrorKind::kInternal, "the program is missing although it was installed");
}

Result<std::uint32_t> ManagerClient::replacement(ClaimOfTest& claim, std::uint32_t generation) {
  auto request = claim.lease->replacementRequest();
  request.setGeneration(generation);
  auto response = wait<capnp::Response<wire::ClaimedLease::ReplacementResults>>(
      request.send().then([](auto&& r) { return kj::mv(r); }), "a replacement");
  if (auto failure = wire::failure_of(response)) return tl::unexpected<Error>(*failure);
  return response.getEndpoint().getGeneration();
}

std::string ManagerClient::fate(ClaimOfTest& claim, std::uint32_t generation) {
  auto request = claim.lease->fateRequest();
  request.setGeneration(generation);
  auto response = wait<capnp::Response<wire::ClaimedLease::FateResults>>(
      request.send().then([](auto&& r) { return kj::mv(r); }), "a fate");
  return wire::to_string(response.getText());
}

Usage ManagerClient::usage(ClaimOfTest& claim) {
  auto response = wait<capnp::Response<wire::ClaimedLease::UsageResults>>(
      claim.lease->usageRequest().send().then([](auto&& r) { return kj::mv(r); }), "the usage");
  return wire::read(response.getUsage());
}

}  // namespace sublet::test
