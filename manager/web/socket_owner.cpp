// The kernel's table of sockets, asked for one connection: sock_diag(7).

#include <base/fd.hpp>

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <web/socket_owner.hpp>

#include <array>
#include <cstring>

namespace sublet::manager::web {
namespace {

struct Question {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

/// Of an IPv4 peer of an IPv6 socket too.
bool write_end(const sockaddr_storage& name, __be16& port, __be32 (&address)[4], bool& is_v4) {
  if (name.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(name);
    port = v4.sin_port;
    address[0] = v4.sin_addr.s_addr;
    is_v4 = true;
    return true;
  }
  if (name.ss_family != AF_INET6) return false;
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(name);
  port = v6.sin6_port;
  is_v4 = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) != 0;
  if (is_v4) {
    std::memcpy(&address[0], &v6.sin6_addr.s6_addr[12], sizeof(address[0]));
  } else {
    std::memcpy(address, &v6.sin6_addr, sizeof(address));
  }
  return true;
}

/// For the socket at the other end: its source is our destination.
std::optional<Question> question_about(int fd) {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_length = sizeof(own);
  socklen_t peer_length = sizeof(peer);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_length) != 0 ||
      ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) != 0) {
    return std::nullopt;
  }
  Question question{};
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.body.sdiag_protocol = IPPROTO_TCP;
  question.body.idiag_states = ~std::uint32_t{0};
  question.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  question.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  bool peer_is_v4 = false;
  bool own_is_v4 = false;
  if (!write_end(peer, question.body.id.idiag_sport, question.body.id.idiag_src, peer_is_v4) ||
      !write_end(own, question.body.id.idiag_dport, question.body.id.idiag_dst, own_is_v4) ||
      peer_is_v4 != own_is_v4) {
    return std::nullopt;
  }
  question.body.sdiag_family = peer_is_v4 ? AF_INET : AF_INET6;
  return question;
}

bool is_answer_to(const inet_diag_msg& answer, const Question& question) {
  return answer.idiag_state == TCP_ESTABLISHED &&
         answer.id.idiag_sport == question.body.id.idiag_sport &&
         answer.id.idiag_dport == question.body.id.idiag_dport;
}

}  // namespace

std::optional<std::uint32_t> socket_owner(int fd) {
  const auto question = question_about(fd);
  if (!question) return std::nullopt;
  const base::Fd kernel(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!kernel.valid()) return std::nullopt;
  if (::send(kernel.get(), &*question, sizeof(*question), 0) !=
      static_cast<ssize_t>(sizeof(*question))) {
    return std::nullopt;
  }
  // The answer is there when send() returns.
  alignas(nlmsghdr) std::array<char, 4096> buffer{};
  const ssize_t size = ::recv(kernel.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  constexpr std::size_t kLeast = NLMSG_LENGTH(sizeof(inet_diag_msg));
  if (size < static_cast<ssize_t>(kLeast)) return std::nullopt;
  nlmsghdr header{};
  inet_diag_msg answer{};
  std::memcpy(&header, buffer.data(), sizeof(header));
  std::memcpy(&answer, buffer.data() + NLMSG_HDRLEN, sizeof(answer));
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len < kLeast) return std::nullopt;
  if (!is_answer_to(answer, *question)) return std::nullopt;
  return answer.idiag_uid;
}

}  // namespace sublet::manager::web
