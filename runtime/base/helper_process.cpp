#include <base/clock.hpp>
#include <base/helper_process.hpp>
#include <base/system_text.hpp>
#include <base/unix_socket.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::base {
namespace {

/// The first byte of a message.
constexpr std::byte kValue{0};
constexpr std::byte kFailure{1};

std::vector<std::byte> message_of(std::byte kind, std::span<const std::byte> bytes) {
  std::vector<std::byte> message(1 + bytes.size());
  message[0] = kind;
  std::copy(bytes.begin(), bytes.end(), message.begin() + 1);
  return message;
}

}  // namespace

Result<void> HelperLink::send(std::span<const std::byte> bytes) {
  return send_packet(socket_.get(), message_of(kValue, bytes));
}

Result<void> HelperLink::tell_failure(const Error& error) {
  const std::string_view text = std::string_view(error.what()).substr(0, kMaxMessage - 1);
  return send_packet(socket_.get(), message_of(kFailure, std::as_bytes(std::span(text))));
}

Result<void> HelperLink::receive(std::span<std::byte> bytes, std::chrono::milliseconds limit) {
  std::array<std::byte, kMaxMessage> message;
  const auto received = receive_packet(socket_.get(), message, limit);
  if (!received) return tl::unexpected<Error>(received.error());
  if (received->size == 0) {
    return fail(ErrorKind::kDisconnected, "the other process has ended");
  }
  const auto content = std::span(message).first(received->size).subspan(1);
  if (message[0] == kFailure) {
    return fail(ErrorKind::kUnsupported,
                "in the other process: " +
                    std::string(reinterpret_cast<const char*>(content.data()), content.size()));
  }
  if (content.size() != bytes.size()) {
    return fail(ErrorKind::kInternal, "the two processes do not understand each other");
  }
  std::copy(content.begin(), content.end(), bytes.begin());
  return {};
}

bool HelperLink::other_has_ended() const noexcept {
  constexpr int kLimitMs = 1000;
  pollfd entry{socket_.get(), POLLRDHUP, 0};
  return ::poll(&entry, 1, kLimitMs) > 0;
}

void HelperProcess::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<HelperProcess> HelperProcess::start(const std::function<void(HelperLink& parent)>& body) {
  auto sockets = make_socketpair();
  if (!sockets) return tl::unexpected<Error>(std::move(sockets.error()));
  TickRate::get();  // measured here once, not in each helper
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    return fail(ErrorKind::kOverloaded, "starting a helper process: " + start_text(errno), errno);
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);  // it died before the line above
    sockets->first.reset();
    HelperLink link(std::move(sockets->second));
    body(link);
    ::_exit(0);
  }
  HelperProcess helper;
  helper.pid_ = pid;
  helper.link_ = HelperLink(std::move(sockets->first));
  return helper;
}

bool HelperProcess::alive() const noexcept {
  siginfo_t info{};
  return pid_ > 0 &&
         ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

}  // namespace sublet::base
