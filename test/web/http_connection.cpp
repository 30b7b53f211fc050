#include "http_connection.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace sublet::test {
namespace {

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// Of this thread alone: the C library's call changes all of them.
void become(std::uint32_t uid) {
  constexpr auto kSame = ~uid_t{0};
  if (::syscall(SYS_setresuid, kSame, static_cast<uid_t>(uid), kSame) != 0)
    throw_errno("setresuid");
}

}  // namespace

HttpConnection::HttpConnection(std::uint16_t port, std::optional<std::uint32_t> uid,
                               std::chrono::milliseconds limit)
    : port_(port), limit_(limit) {
  if (uid) become(*uid);
  fd_ = base::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (uid) become(0);
  if (!fd_.valid()) throw_errno("socket");
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) {
    throw_errno("connect");
  }
}

void HttpConnection::send(const std::string& bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t size = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (size < 0) return;  // what it answers says why
    sent += static_cast<std::size_t>(size);
  }
}

HttpAnswer HttpConnection::ask(const std::string& method, const std::string& target,
                               const Headers& headers, const std::string& body) {
  std::string text = method + " " + target + " HTTP/1.1\r\n";
  bool has_host = false;
  for (const auto& [name, value] : headers) {
    has_host |= name == "Host";
    if (!value.empty()) text += name + ": " + value + "\r\n";
  }
  if (!has_host) text += "Host: 127.0.0.1:" + std::to_string(port_) + "\r\n";
  if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  send(text + "\r\n" + body);
  return read_answer(method != "HEAD");
}

bool HttpConnection::read_more() {
  pollfd wait{fd_.get(), POLLIN, 0};
  if (::poll(&wait, 1, static_cast<int>(limit_.count())) <= 0) return false;
  std::array<char, 65536> bytes{};
  const ssize_t size = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  if (size <= 0) return false;
  buffer_.append(bytes.data(), static_cast<std::size_t>(size));
  return true;
}

std::string HttpConnection::take(std::size_t bytes) {
  while (buffer_.size() < bytes && read_more()) {
  }
  const std::string taken = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return taken;
}

HttpAnswer HttpConnection::read_answer(bool has_body) {
  HttpAnswer answer;
  const std::string head = read_until("\r\n\r\n");
  if (!head.starts_with("HTTP/1.1 ") || !head.ends_with("\r\n\r\n")) return answer;
  answer.status = std::atoi(head.c_str() + 9);
  for (std::size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
    const std::size_t end = head.find("\r\n", at);
    const std::size_t colon = head.find(": ", at);
    std::string name = head.substr(at, colon - at);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    answer.headers[name] = head.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  const auto length = answer.headers.find("content-length");
  if (has_body && length != answer.headers.end()) {
    answer.body = take(static_cast<std::size_t>(std::atoll(length->second.c_str())));
  }
  return answer;
}

std::string HttpConnection::read_until(const std::string& part) {
  std::size_t at = 0;
  while ((at = buffer_.find(part)) == std::string::npos && read_more()) {
  }
  return take(at == std::string::npos ? buffer_.size() : at + part.size());
}

bool HttpConnection::is_closed() {
  pollfd wait{fd_.get(), POLLIN, 0};
  while (::poll(&wait, 1, static_cast<int>(limit_.count())) > 0) {
    std::array<char, 4096> bytes{};
    const ssize_t size = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (size == 0 || (size < 0 && errno == ECONNRESET)) return true;
    if (size < 0) return false;
  }
  return false;
}

}  // namespace sublet::test
