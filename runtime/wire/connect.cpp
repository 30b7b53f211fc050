#include <wire/connect.hpp>
#include <wire/limits.hpp>

#include <capnp/message.h>
#include <kj/debug.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace sublet::wire {
namespace {

constexpr kj::Duration kAgain = 5 * kj::MILLISECONDS;

/// What connect(2) says of a full queue. KJ keeps no number of it.
bool is_queue_full(const kj::Exception& exception) {
  const auto text = exception.getDescription();
  return std::string_view(text.begin(), text.size()).find(std::strerror(EAGAIN)) !=
         std::string_view::npos;
}

}  // namespace

kj::Promise<kj::Own<kj::AsyncIoStream>> connect(kj::Network& network, kj::Timer& timer,
                                                const Address& address) {
  using Stream = kj::Own<kj::AsyncIoStream>;
  return network.parseAddress(address.to_kj())
      .then([](kj::Own<kj::NetworkAddress> target) {
        auto stream = target->connect();
        return stream.attach(kj::mv(target));
      })
      .catch_([&network, &timer, address](kj::Exception&& exception) -> kj::Promise<Stream> {
        if (address.kind != Address::Kind::kUnix || !is_queue_full(exception)) {
          return kj::mv(exception);
        }
        return timer.afterDelay(kAgain).then(
            [&network, &timer, address] { return connect(network, timer, address); });
      });
}

capnp::ReaderOptions message_limits() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kMaxMessageBytes / sizeof(capnp::word);
  return options;
}

capnp::Capability::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc) {
  capnp::MallocMessageBuilder message(4);
  auto server = message.getRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc.bootstrap(server);
}

}  // namespace sublet::wire
