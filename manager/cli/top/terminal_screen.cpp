#include <base/system_text.hpp>
#include <cli/top/terminal_screen.hpp>

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

namespace sublet::cli {
namespace {

// Of every terminal since the VT100: another screen, without a cursor; and back.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[2J";
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // the terminal has gone: SIGHUP says so
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

Result<TerminalScreen> TerminalScreen::open() {
  TerminalScreen screen;
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0 ||
      ::tcgetattr(STDIN_FILENO, &screen.before_) != 0) {
    return fail(ErrorKind::kInvalid,
                "standard input and output must be a terminal; for scripts there is --once");
  }
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP}) {
    ::sigaddset(&wanted, number);
  }
  ::sigprocmask(SIG_BLOCK, &wanted, &screen.mask_before_);
  screen.signals_.reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!screen.signals_.valid()) {
    const int error = errno;
    ::sigprocmask(SIG_SETMASK, &screen.mask_before_, nullptr);
    return fail(ErrorKind::kInternal, "watching signals: " + base::system_text(error), error);
  }
  screen.enter();
  return screen;
}

TerminalScreen::TerminalScreen(TerminalScreen&& other) noexcept
    : active_(std::exchange(other.active_, false)),
      before_(other.before_),
      mask_before_(other.mask_before_),
      signals_(std::move(other.signals_)) {}

TerminalScreen::~TerminalScreen() {
  if (!active_) return;
  leave();
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void TerminalScreen::enter() {
  active_ = true;
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  write_all(kEnter);
}

void TerminalScreen::leave() {
  write_all(kLeave);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

ScreenSize TerminalScreen::size() const {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
    return {};
  }
  return {size.ws_row, size.ws_col};
}

void TerminalScreen::draw(const std::vector<std::string>& lines) {
  std::string frame = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    frame += (i == 0 ? "" : "\r\n") + lines[i] + "\x1b[K";
  }
  write_all(frame + "\x1b[J");
}

TerminalScreen::Event TerminalScreen::signalled() {
  signalfd_siginfo info{};
  Event event = Event::kNone;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGWINCH) {
      event = Event::kResized;
    } else if (info.ssi_signo == SIGTSTP) {
      leave();
      ::raise(SIGSTOP);  // until the shell continues it
      enter();
      event = Event::kResized;
    } else {
      return Event::kEnd;
    }
  }
  return event;
}

TerminalScreen::Event TerminalScreen::wait(int other, int limit_ms, std::string& keys) {
  std::array<pollfd, 3> entries{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{signals_.get(), POLLIN, 0},
                                pollfd{other, POLLIN, 0}};
  const int ready = ::poll(entries.data(), entries.size(), limit_ms);
  if (ready <= 0) return Event::kNone;
  if (entries[1].revents != 0) return signalled();
  if (entries[0].revents != 0) {
    std::array<char, 64> bytes{};
    const ssize_t size = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) return Event::kNone;
    if (size <= 0) return Event::kEnd;
    keys.append(bytes.data(), static_cast<std::size_t>(size));
    return Event::kKeys;
  }
  return Event::kOther;
}

}  // namespace sublet::cli
