#include "server.hpp"

#include <common/guarded_stream.hpp>
#include <wire/address.hpp>
#include <wire/limits.hpp>

#include <capnp/rpc-twoparty.h>

#include <utility>

namespace sublet::sim {
namespace {

struct Connection {
  Connection(std::shared_ptr<manager::Peer> peer, capnp::Capability::Client bootstrap,
             kj::Timer& timer, manager::GuardedStream::Budgets& budgets)
      : stream(std::move(peer), timer, budgets),
        network(stream, capnp::rpc::twoparty::Side::SERVER),
        rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))) {
    rpc.setFlowLimit(wire::kMaxPendingCalls / sizeof(capnp::word));
  }
  manager::GuardedStream stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

}  // namespace

Server::Server(World& world, Process& process, const std::string& address,
               manager::RpcListener::Bootstrap bootstrap)
    : world_(world),
      process_(process),
      address_(wire::Address::parse(address).value_or_throw().to_kj()),
      bootstrap_(std::move(bootstrap)),
      connections_(std::make_shared<manager::ServedConnections>(75, world.trust)),
      tasks_(*this) {
  world.network.listen(address_, process,
                       [this](kj::Own<kj::AsyncIoStream> stream, const Process& from) {
                         accept(kj::mv(stream), from);
                       });
}

void Server::shut(bool silently) {
  world_.network.ignore(address_, silently);
}

void Server::accept(kj::Own<kj::AsyncIoStream> stream, const Process& from) {
  auto peer = std::make_shared<manager::Peer>(kj::mv(stream));
  peer->secured(peer->take_stream(), {wire::ProofKind::kMunge, from.uid(), from.uid()});
  auto closing = kj::newPromiseAndFulfiller<void>();
  auto close = std::make_shared<decltype(closing.fulfiller)>(kj::mv(closing.fulfiller));
  peer->set_place(connections_->table.take("uid " + std::to_string(from.uid()),
                                           [close] { (*close)->fulfill(); }),
                  connections_);
  if (peer->place() == nullptr) return;
  auto connection =
      kj::heap<Connection>(peer, bootstrap_(peer), process_.timer(), connections_->budgets);
  auto gone = connection->network.onDisconnect();
  tasks_.add(gone.attach(kj::mv(connection)).exclusiveJoin(kj::mv(closing.promise)));
}

void Server::taskFailed(kj::Exception&& exception) {
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  world_.broken(std::string("a connection to ") + process_.name() +
                " failed: " + exception.getDescription().cStr());
}

}  // namespace sublet::sim
