// How a control connection over a network begins, at either end.

#include "support/temp_directory.hpp"
#include "target.hpp"
#include <wire/handshake.hpp>
#include <wire/secure_stream.hpp>

#include <kj/async-io.h>

#include <array>
#include <memory>

namespace sublet::fuzz {
namespace {

/// One key, made anew by each process: no input can know it.
std::shared_ptr<const wire::Trust> trust() {
  static const auto shared = [] {
    const test::TempDirectory directory;
    const std::string path = directory.path() + "/key";
    wire::Key::make(path).value_or_throw();
    return wire::Trust::load({.key_files = {path}});
  }();
  return shared;
}

/// Runs one end against the input. Nobody without the key gets through.
template <class Open>
void run_end(std::span<const std::byte> input, Open&& open) {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  auto pipe = kj::newTwoWayPipe();
  auto& other = *pipe.ends[0];
  bool opened = false;
  auto done =
      open(kj::mv(pipe.ends[1]))
          .then([&opened](Result<wire::SecuredStream> secured) { opened = secured.has_value(); })
          .eagerlyEvaluate([](kj::Exception&&) {});
  std::array<kj::byte, 65536> heard{};
  auto reading = other.tryRead(heard.data(), heard.size(), heard.size())
                     .ignoreResult()
                     .eagerlyEvaluate([](kj::Exception&&) {});
  auto writing = other.write(input.data(), input.size())
                     .then([&other] { other.shutdownWrite(); })
                     .eagerlyEvaluate([](kj::Exception&&) {});
  scope.poll();
  require(!opened, "who has not the key got through the handshake");
}

void run_server(std::span<const std::byte> input) {
  run_end(input, [](kj::Own<kj::AsyncIoStream> stream) {
    return wire::secure_as_server(kj::mv(stream), trust());
  });
}

void run_client(std::span<const std::byte> input) {
  run_end(input, [](kj::Own<kj::AsyncIoStream> stream) {
    return wire::secure_as_client(kj::mv(stream), trust(), "tcp:n1:1");
  });
}

/// A stream whose keys are known: its records are good but for what the input does to them.
void run_stream(std::span<const std::byte> input) {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  auto pipe = kj::newTwoWayPipe();
  auto& other = *pipe.ends[0];
  wire::SecureStream::StreamKey key{};
  wire::SecureStream stream(kj::mv(pipe.ends[1]), key, key, {});
  std::array<kj::byte, 65536> heard{};
  auto reading = stream.tryRead(heard.data(), heard.size(), heard.size())
                     .ignoreResult()
                     .eagerlyEvaluate([](kj::Exception&&) {});
  auto writing = other.write(input.data(), input.size())
                     .then([&other] { other.shutdownWrite(); })
                     .eagerlyEvaluate([](kj::Exception&&) {});
  scope.poll();
}

/// What one end of a good conversation says, when the other is `open`.
Bytes said_by(bool client) {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  auto left = kj::newTwoWayPipe();
  auto right = kj::newTwoWayPipe();
  Bytes said;
  auto tee = [&said](kj::AsyncIoStream& from, kj::AsyncIoStream& to, bool notes) {
    return [&said, &from, &to, notes](auto& self) -> kj::Promise<void> {
      auto buffer = kj::heapArray<kj::byte>(4096);
      auto reading = from.tryRead(buffer.begin(), 1, buffer.size());
      return reading.then([&said, &to, notes, &self,
                           buffer = kj::mv(buffer)](std::size_t n) mutable -> kj::Promise<void> {
        if (n == 0) return kj::READY_NOW;
        if (notes) {
          const auto some = std::as_bytes(std::span(buffer.begin(), n));
          said.insert(said.end(), some.begin(), some.end());
        }
        auto written = to.write(buffer.begin(), n);
        return written.attach(kj::mv(buffer)).then([&self] { return self(self); });
      });
    };
  };
  auto out = tee(*left.ends[1], *right.ends[0], client);
  auto in = tee(*right.ends[0], *left.ends[1], !client);
  auto outward = out(out).eagerlyEvaluate([](kj::Exception&&) {});
  auto inward = in(in).eagerlyEvaluate([](kj::Exception&&) {});
  auto one =
      wire::secure_as_client(kj::mv(left.ends[0]), trust(), "tcp:n1:1").eagerlyEvaluate(nullptr);
  auto other = wire::secure_as_server(kj::mv(right.ends[1]), trust()).eagerlyEvaluate(nullptr);
  scope.poll();
  return said;
}

std::vector<Bytes> server_seeds() {
  return {said_by(true)};
}
std::vector<Bytes> client_seeds() {
  return {said_by(false)};
}

std::vector<Bytes> stream_seeds() {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  auto pipe = kj::newTwoWayPipe();
  wire::SecureStream::StreamKey key{};
  wire::SecureStream stream(kj::mv(pipe.ends[0]), key, key, {});
  Bytes said(4096);
  auto reading = pipe.ends[1]->tryRead(said.data(), said.size(), said.size());
  const std::array<kj::byte, 100> words{};
  auto writing = stream.write(words.data(), words.size()).eagerlyEvaluate(nullptr);
  scope.poll();
  stream.shutdownWrite();
  said.resize(reading.wait(scope));
  return {said};
}

const Registered server({"handshake_server", run_server, server_seeds});
const Registered client({"handshake_client", run_client, client_seeds});
const Registered stream({"secure_stream", run_stream, stream_seeds});

}  // namespace
}  // namespace sublet::fuzz
