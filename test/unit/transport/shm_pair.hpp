#pragma once

#include <base/unix_socket.hpp>
#include <transport/shm/shm_client_datapath.hpp>
#include <transport/shm/shm_server_datapath.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <utility>

namespace sublet::transport::shm {

/// Both ends of a channel in one process and over one mapping, so that the thread sanitizer sees
/// them meet. `memory` is there to scribble on, through `rings()` as the other side would.
class ShmPair {
 public:
  explicit ShmPair(const Terms& terms, const WaitPolicy& policy = {},
                   std::size_t arena_size = 2u << 20)
      : ShmPair(terms, policy, Arena::create(arena_size).value(), make_memory(terms.slots),
                base::make_socketpair().value()) {}

  std::shared_ptr<Arena> arena;
  std::shared_ptr<base::SharedMemory> memory;
  base::Fd worker_end;  ///< Closing it is the worker's death.
  ClientChannel client;
  ServerChannel server;
  const Layout layout;

  /// A second mapping of the channel's memory: what is written there the thread sanitizer takes,
  /// as it must, for the doing of another process.
  [[nodiscard]] base::SharedMemory hostile_mapping() const {
    return base::SharedMemory::map(base::Fd(::dup(memory->fd())), memory->size()).value();
  }

  /// Runs the next request in this thread as an echo. False when there is none.
  bool serve() {
    Invocation invocation;
    if (!server.poll(invocation)) return false;
    Completion completion;
    completion.status = invocation.verdict;
    if (completion.status == Status::kOk) {
      completion.size = invocation.in_size;
      std::memcpy(invocation.out, invocation.in, invocation.in_size);
    }
    server.complete(invocation, completion);
    return true;
  }

 private:
  ShmPair(const Terms& terms, const WaitPolicy& policy, std::shared_ptr<Arena> the_arena,
          std::shared_ptr<base::SharedMemory> the_memory, std::pair<base::Fd, base::Fd> sockets)
      : arena(std::move(the_arena)),
        memory(std::move(the_memory)),
        worker_end(std::move(sockets.second)),
        client(std::move(sockets.first), memory, arena, terms, policy),
        server(memory, std::shared_ptr<const base::SharedMemory>(arena, &arena->memory()), terms),
        layout{terms.slots} {}

  static std::shared_ptr<base::SharedMemory> make_memory(std::uint32_t slots) {
    return std::make_shared<base::SharedMemory>(
        base::SharedMemory::create("test-channel", Layout{slots}.size(),
                                   base::SharedMemory::Pages::kSmall)
            .value());
  }
};

}  // namespace sublet::transport::shm
