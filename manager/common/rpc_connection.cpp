#include <common/async.hpp>
#include <common/rpc_connection.hpp>
#include <wire/connect.hpp>

namespace sublet::manager {

RpcConnection::RpcConnection(kj::Own<kj::AsyncIoStream> stream)
    : peer_(kj::mv(stream)),
      network_(peer_.stream(), capnp::rpc::twoparty::Side::CLIENT, wire::message_limits()),
      rpc_(capnp::makeRpcClient(network_)),
      bootstrap_(wire::bootstrap(rpc_)) {}

kj::Promise<kj::Own<RpcConnection>> RpcConnection::connect(
    kj::Network& network, kj::Timer& timer, const wire::Address& address,
    std::chrono::milliseconds limit, const std::shared_ptr<const wire::Trust>& trust) {
  auto connected =
      wire::connect(network, timer, address, trust)
          .then([](Result<kj::Own<kj::AsyncIoStream>>&& stream) -> kj::Own<RpcConnection> {
            if (!stream) {
              const bool gone = stream.error().kind() == ErrorKind::kDisconnected;
              kj::throwFatalException(kj::Exception(
                  gone ? kj::Exception::Type::DISCONNECTED : kj::Exception::Type::FAILED, __FILE__,
                  __LINE__, kj::str(stream.error().what())));
            }
            return kj::heap<RpcConnection>(kj::mv(*stream));
          });
  return within(timer, limit, kj::mv(connected), "connecting to " + address.to_string());
}

}  // namespace sublet::manager
