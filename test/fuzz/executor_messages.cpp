// What executors and zygotes say: packets of any content.

#include "target.hpp"
#include <base/printable_text.hpp>
#include <base/unix_socket.hpp>
#include <wire/application_text.hpp>
#include <wire/executor_packets.hpp>

#include <sys/socket.h>

#include <array>
#include <chrono>

namespace sublet::fuzz {
namespace {

/// Reads the message as each of the bodies that it may have.
void look_at(const wire::ReceivedMessage& message) {
  if (const auto body = message.as<wire::Opened>())
    (void)base::printable(wire::text_of(body->text));
  if (const auto body = message.as<wire::Listening>()) {
    (void)base::printable(wire::text_of(body->transport));
    (void)base::printable(wire::text_of(body->text));
  }
  if (const auto body = message.as<wire::Dying>()) (void)base::printable(wire::text_of(body->text));
  if (const auto body = message.as<wire::Open>()) {
    (void)base::printable(wire::text_of(body->name));
    (void)base::printable(wire::text_of(body->library));
  }
  if (const auto body = message.as<wire::Spawn>()) (void)wire::text_of(body->cpusets);
  (void)message.as<wire::Spawned>();
  (void)message.as<wire::Exited>();
  (void)message.as<wire::Ready>();
}

void run(std::span<const std::byte> input) {
  static const auto pair = base::make_socketpair().value_or_throw();
  constexpr std::size_t kMost = 60'000;
  const auto packet = input.first(std::min(input.size(), kMost));
  // An empty packet is the end of a connection to who reads it.
  if (::send(pair.first.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    return;
  }
  const auto message = wire::receive_message(pair.second.get(), std::chrono::milliseconds(0));
  if (message) look_at(*message);
}

template <class Body>
Bytes packet(wire::MessageType type, const Body& body) {
  const auto packed = wire::pack_message(type, body);
  return {packed.begin(), packed.end()};
}

std::vector<Bytes> seeds() {
  wire::Opened opened{};
  wire::set_text(opened.text, "it has no such function");
  wire::Listening listening{};
  wire::set_text(listening.transport, "tcp");
  wire::set_text(listening.text, "*:4711");
  wire::Dying dying{};
  wire::set_text(dying.text, "SIGSEGV in f");
  return {
      packet(wire::MessageType::kOpened, opened), packet(wire::MessageType::kListening, listening),
      packet(wire::MessageType::kDying, dying), packet(wire::MessageType::kReady, wire::Ready{2}),
      packet(wire::MessageType::kSpawned, wire::Spawned{1, 2, 0})};
}

void run_text(std::span<const std::byte> input) {
  const std::string text = text_of(input);
  const auto found = wire::ApplicationSurroundings::from_text(text);
  for (const auto& object : found.objects) (void)object.name();
  require(wire::ApplicationSurroundings::from_text(found.to_text()).directories.size() >=
              found.directories.size(),
          "directories of an application were lost on the way");
}

std::vector<Bytes> text_seeds() {
  return {bytes_of("object libm.so.6 0123abcd\nobject libx.so \ndirectory /opt/lib\n")};
}

const Registered registered({"executor_messages", run, seeds});
const Registered text({"application_text", run_text, text_seeds});

}  // namespace
}  // namespace sublet::fuzz
