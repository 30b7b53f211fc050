#include <base/function_records.hpp>
#include <client/claim.hpp>
#include <client/node_link.hpp>
#include <wire/convert.hpp>
#include <wire/limits.hpp>
#include <wire/manager_calls.hpp>

#include <algorithm>

namespace sublet::client {
namespace {

tl::unexpected<Error> released() {
  return fail(ErrorKind::kInvalid, "the lease was released");
}

}  // namespace

NodeLink::NodeLink(std::shared_ptr<ControlThread> thread, Claimed claimed)
    : thread_(std::move(thread)),
      share_(std::make_shared<const NodeShare>(std::move(claimed.share))),
      remote_(claimed.remote.release()) {}

NodeLink::~NodeLink() {
  release();
}

void NodeLink::release() noexcept {
  if (remote_ == nullptr) return;
  state().release();
  // Dropping the capability is what ends the lease; it has to happen on the loop.
  (void)thread_->run<bool>("releasing a lease", [this](ControlLoop&) -> kj::Promise<Result<bool>> {
    delete remote_;
    return Result<bool>(true);
  });
  remote_ = nullptr;
}

Result<bool> NodeLink::open(const FunctionRequest& function) {
  if (remote_ == nullptr) return released();
  const auto limit = thread_->timeout() +
                     std::chrono::duration_cast<std::chrono::milliseconds>(wire::kLibraryLoad);
  return thread_->run<bool>(
      "opening function '" + std::string(base::name_for_people(function.name)) + "' on node " +
          grant().node_name,
      limit, [&](ControlLoop&) -> kj::Promise<Result<bool>> {
        auto request = remote_->lease.openRequest();
        request.setIndex(function.index);
        request.setSha256(wire::to_data(std::as_bytes(std::span(function.sha256))));
        request.setLibraryName(function.library);
        request.setName(function.name);
        request.setTimeoutMs(static_cast<std::uint64_t>(function.timeout.count()));
        return request.send().then(
            [this](capnp::Response<wire::ClaimedLease::OpenResults>&& results) -> Result<bool> {
              if (auto failure = wire::failure_of(results)) {
                // Known before the caller's next call, which must not go to that executor.
                if (results.getEndedGeneration() != 0) {
                  state().executor_ended(results.getEndedGeneration(),
                                         {failure->what(), {}, failure->kind()});
                }
                return tl::unexpected<Error>(*failure);
              }
              return !results.getMissing();
            });
      });
}

Result<void> NodeLink::install(std::span<const std::byte> content,
                               const std::array<std::uint8_t, 32>& sha256) {
  if (remote_ == nullptr) return released();
  auto sent = thread_->run<bool>(
      "sending a library of " + std::to_string(content.size()) + " bytes to node " +
          grant().node_name,
      thread_->timeout() +
          std::chrono::duration_cast<std::chrono::milliseconds>(wire::kLibraryLoad),
      [&](ControlLoop&) -> kj::Promise<Result<bool>> {
        auto request = remote_->lease.installRequest(
            capnp::MessageSize{content.size() / sizeof(capnp::word) + 16, 1});
        request.setContent(wire::to_data(content));
        return request.send().then(
            [&](capnp::Response<wire::ClaimedLease::InstallResults>&& results) -> Result<bool> {
              if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
              const auto theirs = wire::to_bytes(results.getSha256());
              const auto ours = std::as_bytes(std::span(sha256));
              if (!std::equal(theirs.begin(), theirs.end(), ours.begin(), ours.end())) {
                return fail(ErrorKind::kInternal, "the library arrived altered");
              }
              return true;
            });
      });
  if (!sent) return tl::unexpected<Error>(sent.error());
  return {};
}

Result<Usage> NodeLink::usage() {
  if (remote_ == nullptr) return released();
  return thread_->run<Usage>(
      "asking node " + grant().node_name + " for the lease's usage",
      [&](ControlLoop&) -> kj::Promise<Result<Usage>> {
        return remote_->lease.usageRequest().send().then(
            [](capnp::Response<wire::ClaimedLease::UsageResults>&& results) -> Result<Usage> {
              return wire::read(results.getUsage());
            });
      });
}

Result<std::int64_t> NodeLink::extend(std::chrono::seconds duration) {
  if (remote_ == nullptr) return released();
  return thread_->run<std::int64_t>(
      "asking node " + grant().node_name + " for more time",
      [&](ControlLoop&) -> kj::Promise<Result<std::int64_t>> {
        auto request = remote_->lease.extendRequest();
        request.setDurationMs(wire::to_wire_ms(duration));
        return request.send().then([](capnp::Response<wire::ClaimedLease::ExtendResults>&& results)
                                       -> Result<std::int64_t> {
          if (auto failure = wire::failure_of(results)) return tl::unexpected<Error>(*failure);
          return results.getExpiresUnixMs();
        });
      });
}

}  // namespace sublet::client
