#include <common/async.hpp>
#include <common/rpc_connection.hpp>
#include <wire/connect.hpp>
#include <wire/limits.hpp>

namespace sublet::manager {
namespace {

capnp::ReaderOptions reader_options() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = wire::kMaxMessageBytes / sizeof(capnp::word);
  return options;
}

}  // namespace

RpcConnection::RpcConnection(kj::Own<kj::AsyncIoStream> stream)
    : peer_(kj::mv(stream)),
      network_(peer_.stream(), capnp::rpc::twoparty::Side::CLIENT, reader_options()),
      rpc_(capnp::makeRpcClient(network_)) {}

capnp::Capability::Client RpcConnection::bootstrap() {
  capnp::MallocMessageBuilder message(4);
  auto vat = message.getRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc_.bootstrap(vat);
}

kj::Promise<kj::Own<RpcConnection>> RpcConnection::connect(kj::Network& network, kj::Timer& timer,
                                                           const wire::Address& address,
                                                           std::chrono::milliseconds limit) {
  auto connected =
      wire::connect(network, timer, address).then([](kj::Own<kj::AsyncIoStream> stream) {
        return kj::heap<RpcConnection>(kj::mv(stream));
      });
  return within(timer, limit, kj::mv(connected), "connecting to " + address.to_string());
}

}  // namespace sublet::manager
