#pragma once

#include <base/fd.hpp>
#include <transport/common/tcp_socket.hpp>
#include <transport/tcp/tcp_client_datapath.hpp>
#include <transport/tcp/tcp_server_datapath.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::transport::tcp {

inline constexpr std::chrono::seconds kTestPatience{20};

/// Two ends of one connection over the loopback interface, not blocking.
inline std::pair<base::Fd, base::Fd> connected_sockets() {
  const base::Fd listener = listen_on("127.0.0.1").value_or_throw();
  const HostPort address = address_of(listener.get()).value_or_throw();
  base::Fd one =
      connect_to(address, std::chrono::steady_clock::now() + kTestPatience).value_or_throw();
  await_socket(listener.get(), POLLIN, kTestPatience);
  base::Fd other(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  prepare_connection(one.get(), std::chrono::seconds(5)).value_or_throw();
  prepare_connection(other.get(), std::chrono::seconds(5)).value_or_throw();
  return {std::move(one), std::move(other)};
}

/// Sends all of it, waiting for room. False when the other end has gone.
inline bool send_all(int socket, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::send(socket, bytes + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && !would_block(errno)) return false;
    if (n < 0) await_socket(socket, POLLOUT, kTestPatience);
    if (n > 0) done += static_cast<std::size_t>(n);
  }
  return true;
}

template <class T>
bool send_all(int socket, const T& value) {
  return send_all(socket, &value, sizeof(value));
}

/// Receives exactly so much; less when the other end has gone or test patience ends.
inline std::vector<std::byte> receive_exactly(int socket, std::size_t size) {
  std::vector<std::byte> all(size);
  std::size_t done = 0;
  while (done < size) {
    await_socket(socket, POLLIN, kTestPatience);
    std::size_t came = 0;
    if (receive_some(socket, all.data() + done, size - done, came) != Status::kOk) break;
    done += came;
  }
  all.resize(done);
  return all;
}

/// Polls a server until a request is there, the channel has ended, or test patience does.
inline bool poll_for(ServerChannel& server, Invocation& invocation) {
  const auto end = std::chrono::steady_clock::now() + kTestPatience;
  while (server.is_open() && std::chrono::steady_clock::now() < end) {
    if (server.poll(invocation)) return true;
    server.sleep(std::chrono::milliseconds(100));
  }
  return false;
}

inline void complete_echo(ServerChannel& server, const Invocation& invocation) {
  Completion completion;
  completion.status = invocation.verdict;
  if (completion.status == Status::kOk) {
    completion.size = invocation.in_size;
    if (invocation.in_size != 0) std::memcpy(invocation.out, invocation.in, invocation.in_size);
  }
  server.complete(invocation, completion);
}

}  // namespace sublet::transport::tcp
