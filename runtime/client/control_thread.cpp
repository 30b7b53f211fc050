#include <base/log.hpp>
#include <base/printable_text.hpp>
#include <base/system_text.hpp>
#include <base/tcp_options.hpp>
#include <client/control_thread.hpp>
#include <client/last_handle.hpp>
#include <wire/address.hpp>
#include <wire/connect.hpp>
#include <wire/secure_stream.hpp>

#include <pthread.h>
#include <signal.h>

#include <system_error>

namespace sublet::client {

ControlThread::ControlThread(const Timeouts& timeouts, std::shared_ptr<const wire::Trust> trust)
    : timeouts_(timeouts), trust_(std::move(trust)) {
  // The helper takes none of the application's signals.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { main(); });
  } catch (const std::system_error& error) {
    failure_ = "starting the helper thread: " + base::start_text(error.code().value());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (thread_.joinable()) ready_.wait(false);
}

ControlThread::~ControlThread() {
  if (!thread_.joinable()) return;
  try {
    if (failure_.empty()) executor_->executeSync([this] { stop_->fulfill(); });
  } catch (const kj::Exception&) {
    // The loop has ended already.
  }
  thread_.join();
}

Error ControlThread::not_in_child(const std::string& attempted) {
  return Error(ErrorKind::kInvalid, attempted + ": " + base::kForkedText);
}

void ControlThread::main() {
  ::pthread_setname_np(::pthread_self(), "sublet-control");
  const OwnThread own;
  try {
    serve();
  } catch (const kj::Exception& exception) {
    if (ready_.load()) return;  // its end; nothing is asked of it any more
    failure_ = std::string("starting the helper thread: ") + exception.getDescription().cStr();
    ready_.store(true);
    ready_.notify_one();
  }
}

void ControlThread::serve() {
  // KJ ignores SIGPIPE for the whole process; here all signals are blocked, which does as well.
  struct sigaction applications {};
  ::sigaction(SIGPIPE, nullptr, &applications);
  auto io = kj::setupAsyncIo();
  ::sigaction(SIGPIPE, &applications, nullptr);
  auto stop = kj::newPromiseAndFulfiller<void>();
  stop_ = stop.fulfiller.get();
  {
    ControlLoop loop(io, timeouts_.peer, trust_);
    loop_ = &loop;
    executor_ = kj::getCurrentThreadExecutor().addRef();
    ready_.store(true);
    ready_.notify_one();
    stop.promise.wait(io.waitScope);
  }
  // What the loop's end set off (messages that drop capabilities) still goes out.
  io.waitScope.poll();
}

Connection::Connection(kj::Own<kj::AsyncIoStream> stream)
    : binding_(wire::channel_binding(*stream)),
      stream_(kj::mv(stream)),
      network_(stream_, capnp::rpc::twoparty::Side::CLIENT, wire::message_limits()),
      rpc_(capnp::makeRpcClient(network_)),
      bootstrap_(wire::bootstrap(rpc_)),
      gone_(network_.onDisconnect().fork()) {
  KJ_IF_MAYBE (fd, stream_.getFd()) guard_ = std::make_unique<base::ForkGuard>(*fd);
}

kj::Promise<Result<kj::Own<Connection>>> ControlLoop::connect(const std::string& address) {
  for (Known& known : known_) {
    if (known.address == address) return Result<kj::Own<Connection>>(kj::addRef(*known.connection));
  }
  auto parsed = wire::Address::parse(address);
  if (!parsed) return Result<kj::Own<Connection>>(tl::unexpected<Error>(parsed.error()));
  return wire::connect(io_.provider->getNetwork(), timer(), *parsed, trust_)
      .then([this,
             address](Result<kj::Own<kj::AsyncIoStream>>&& stream) -> Result<kj::Own<Connection>> {
        if (!stream) return tl::unexpected<Error>(std::move(stream.error()));
        KJ_IF_MAYBE (fd, (*stream)->getFd()) base::set_tcp_options(*fd, silence_);
        auto connection = kj::refcounted<Connection>(kj::mv(*stream));
        known_.push_back({address, kj::addRef(*connection)});
        spawn(connection->gone().then([this, address, &c = *connection] { forget(address, c); }));
        return kj::mv(connection);
      });
}

void ControlLoop::forget(const std::string& address, Connection& connection) {
  for (auto known = known_.begin(); known != known_.end(); ++known) {
    if (known->address == address && known->connection.get() == &connection) {
      known_.erase(known);
      return;
    }
  }
}

void ControlLoop::taskFailed(kj::Exception&& exception) {
  base::log().debug("control plane: {}", exception.getDescription().cStr());
}

Error to_error(const std::string& attempted, const kj::Exception& exception) {
  ErrorKind kind = ErrorKind::kInternal;
  switch (exception.getType()) {
    case kj::Exception::Type::DISCONNECTED:
      kind = ErrorKind::kDisconnected;
      break;
    case kj::Exception::Type::OVERLOADED:
      kind = ErrorKind::kOverloaded;
      break;
    case kj::Exception::Type::UNIMPLEMENTED:
      kind = ErrorKind::kUnsupported;
      break;
    case kj::Exception::Type::FAILED:
      break;
  }
  const auto text = exception.getDescription();
  return Error(kind, attempted + ": " + base::printable({text.begin(), text.size()}));
}

}  // namespace sublet::client
