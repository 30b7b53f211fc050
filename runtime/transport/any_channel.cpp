#include <transport/any_channel.hpp>

#include <cstdlib>

namespace sublet::transport {

const char* to_string(Kind kind) noexcept {
  switch (kind) {
    case Kind::kShm:
      return "shm";
  }
  return "?";
}

Result<Kind> choose(const Endpoint& endpoint, bool same_node) {
  const char* wanted = std::getenv("SUBLET_TRANSPORT");
  if (wanted != nullptr && *wanted != '\0' && std::string(wanted) != "shm") {
    return fail(ErrorKind::kUnsupported,
                std::string("SUBLET_TRANSPORT is '") + wanted + "'; this build has: shm");
  }
  if (same_node && !endpoint.shm_socket.empty()) return Kind::kShm;
  return fail(ErrorKind::kUnsupported,
              "the executor is on another node, and this build has only the shm transport");
}

Result<AnyClientChannel> connect(Kind kind, const Endpoint& endpoint, std::uint32_t worker,
                                 std::uint32_t slots, std::shared_ptr<Arena> arena,
                                 std::chrono::milliseconds timeout) {
  switch (kind) {
    case Kind::kShm: {
      ConnectOptions options;
      options.address = endpoint.shm_socket;
      options.token = endpoint.token;
      options.worker = worker;
      options.slots = slots;
      options.timeout = timeout;
      auto channel = shm::connect(options, std::move(arena));
      if (!channel) return tl::unexpected<Error>(channel.error());
      return AnyClientChannel(std::move(*channel));
    }
  }
  return fail(ErrorKind::kInternal, "no such transport");
}

}  // namespace sublet::transport
