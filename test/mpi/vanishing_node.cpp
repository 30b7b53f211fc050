// vanishing_node MANAGER: a node that leaves as soon as it has been granted something, before
// anybody can claim that. Says "here" once the resource manager knows it, and "gone" at its end.

#include <common/async.hpp>
#include <common/messages.hpp>
#include <common/rpc_connection.hpp>

#include <kj/async-io.h>

#include <iostream>

namespace sublet::manager {
namespace {

class Control final : public wire::NodeControl::Server {
 public:
  explicit Control(kj::Own<kj::PromiseFulfiller<void>>& granted) : granted_(granted) {}
  kj::Promise<void> grant(GrantContext) override {
    granted_->fulfill();
    return kj::READY_NOW;
  }

 private:
  kj::Own<kj::PromiseFulfiller<void>>& granted_;
};

void run(const std::string& manager) {
  using namespace std::chrono_literals;
  auto io = kj::setupAsyncIo();
  kj::Timer& timer = io.provider->getTimer();
  auto connection = RpcConnection::connect(io.provider->getNetwork(), timer,
                                           wire::Address::parse(manager).value_or_throw(), 10s,
                                           wire::Trust::load({}))
                        .wait(io.waitScope);
  auto granted = kj::newPromiseAndFulfiller<void>();
  auto request = connection->bootstrap().castAs<wire::ResourceManager>().registerRequest();
  // More cores than any real one, so that a lease that is spread begins here.
  write(request.initNode(), NodeOffer{"vanishing",
                                      "another/machine",
                                      1024,
                                      std::uint64_t{1} << 40,
                                      "0",
                                      {"unix:@sublet-nobody-listens-here"}});
  request.setControl(kj::heap<Control>(granted.fulfiller));
  auto answer = request.send().wait(io.waitScope);
  if (answer.hasFailure()) throw Error(ErrorKind::kDenied, "the node is refused");
  auto registration = answer.getRegistration();
  std::cout << "here" << std::endl;
  within(timer, 60s, kj::mv(granted.promise), "a grant").wait(io.waitScope);
  timer.afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);  // the answer goes first
  registration.leaveRequest().send().ignoreResult().wait(io.waitScope);
  std::cout << "gone" << std::endl;
}

}  // namespace
}  // namespace sublet::manager

int main(int argc, char** argv) {
  try {
    sublet::manager::run(argc > 1 ? argv[1] : "");
    return 0;
  } catch (const kj::Exception& error) {
    std::cerr << "vanishing_node: " << error.getDescription().cStr() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "vanishing_node: " << error.what() << '\n';
  }
  return 1;
}
